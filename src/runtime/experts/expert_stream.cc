#include "runtime/experts/expert_stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runtime/experts/vacate_slots.h"

namespace hlwq {
namespace {

// A copy should be long enough for the full speed of the bus, and short enough that little waits
// for the first and the last: 9 experts of 6.5 MB.
constexpr int64_t kBufferBytes = int64_t{64} << 20;

// With so many choices an expert of the layer, on average, few are without any: 1 in 3,000.
constexpr size_t kChoicesToCopyAhead = 8;

// Fences of buffer b: its copies have arrived; its experts have been multiplied.
int copied(size_t b) { return static_cast<int>(b); }
int multiplied(size_t b) { return 2 + static_cast<int>(b); }

}  // namespace

ExpertStream::ExpertStream(Backend& backend, ExpertStore& store, const SlotPool& slots,
                           const ExpertCache& cache, ExpertAddress* table, HostWorker* worker)
    : backend_(backend),
      store_(store),
      slots_(slots),
      cache_(cache),
      table_(table),
      worker_(worker) {
  choices_.resize(static_cast<size_t>(store.experts()));
  handed_over_.resize(choices_.size());
  addresses_.resize(choices_.size());
  slot_of_.resize(static_cast<size_t>(cache.shape.keys()));
  counts_.resize(static_cast<size_t>(store.layers()));
}

int64_t ExpertStream::slot_index(const Part& part, size_t index) const {
  return static_cast<int64_t>(part.buffer) * part_slots_ + static_cast<int64_t>(index);
}

std::byte* ExpertStream::buffer_slot(const Part& part, size_t index) const {
  return slots_.slot(slot_index(part, index));
}

bool ExpertStream::in_slot(int64_t layer, size_t expert) const {
  return slot_of_[static_cast<size_t>(layer * store_.experts()) + expert] >= 0;
}

void ExpertStream::count_choices(const ExpertsArgs& args) {
  ids_.resize(static_cast<size_t>(args.x.x.rows * args.experts_used));
  // This waits for all ops before: no slot is being read any more.
  backend_.download(ids_.data(), args.ids, ids_.size() * sizeof(int32_t));
  std::fill(choices_.begin(), choices_.end(), 0);
  for (const int32_t id : ids_) {
    HLWQ_CHECK(id >= 0 && id < store_.experts());
    ++choices_[static_cast<size_t>(id)];
  }
}

void ExpertStream::start_step() {
  ahead_.clear();
  next_buffer_ = 0;
  buffers_ = slots_.size() > 1 ? 2 : 1;
  part_slots_ = std::clamp<int64_t>(kBufferBytes / store_.slot_bytes(), 1,
                                    slots_.size() / static_cast<int64_t>(buffers_));
  vacate_slots(backend_, cache_, 0, static_cast<int64_t>(buffers_) * part_slots_, kEmptySlot);
  backend_.download(slot_of_.data(), cache_.slot_of, slot_of_.size() * sizeof(int32_t));
}

// A part that begins with expert `first`, where the one before ends.
ExpertStream::Part& ExpertStream::add_part(std::vector<Part>& parts, size_t first) {
  if (!parts.empty()) parts.back().last = static_cast<int64_t>(first);
  parts.push_back({.first = parts.empty() ? 0 : static_cast<int64_t>(first),
                   .last = store_.experts(),
                   .buffer = next_buffer_,
                   .copied = {},
                   .under_way = false});
  next_buffer_ = (next_buffer_ + 1) % buffers_;
  return parts.back();
}

// What is in slots joins the part around it.
void ExpertStream::cut(int64_t layer) {
  const int64_t down_offset = store_.record(layer).down_offset;
  ExpertCounts& counts = counts_[static_cast<size_t>(layer)];
  parts_ = std::exchange(ahead_, {});
  size_t under_way_before = 0;  // experts up to here that are to be copied, are
  for (const Part& part : parts_) {
    under_way_before = static_cast<size_t>(part.copied.back()) + 1;
    for (size_t i = 0; i < part.copied.size(); ++i) {
      const std::byte* const at = buffer_slot(part, i);
      addresses_[static_cast<size_t>(part.copied[i])] = {at, at + down_offset};
    }
  }
  for (size_t e = 0; e < choices_.size(); ++e) {
    if (choices_[e] == 0) continue;
    if (in_slot(layer, e)) {
      ++counts.hits;
      const int32_t slot = slot_of_[static_cast<size_t>(layer) * choices_.size() + e];
      const std::byte* const at = slots_.slot(slot);
      addresses_[e] = {at, at + down_offset};
      continue;
    }
    ++counts.misses;
    if (handed_over_[e] != 0) {
      ++counts.on_host;
      addresses_[e] = {};
      continue;
    }
    ++copied_records_;
    if (e < under_way_before) continue;
    const bool room = !parts_.empty() && !parts_.back().under_way &&
                      parts_.back().copied.size() < static_cast<size_t>(part_slots_);
    Part& part = room ? parts_.back() : add_part(parts_, e);
    const std::byte* const at = buffer_slot(part, part.copied.size());
    addresses_[e] = {at, at + down_offset};
    part.copied.push_back(static_cast<int32_t>(e));
  }
  if (parts_.empty()) static_cast<void>(add_part(parts_, 0));  // all are in slots
}

Status ExpertStream::start_copies(int64_t layer, const Part& part) {
  if (part.copied.empty()) return {};
  backend_.wait(Queue::kCopies, multiplied(part.buffer));
  const bool dense = store_.slot_bytes() == store_.record(layer).bytes;
  for (size_t i = 0, next; i < part.copied.size(); i = next) {
    // Neighbours go together where both sides are without gaps.
    for (next = i + 1; next < part.copied.size(); ++next)
      if (!dense || part.copied[next] != part.copied[next - 1] + 1 ||
          !slots_.next_follows(slot_index(part, next - 1)))
        break;
    HLWQ_TRY(store_.copy(backend_, layer, part.copied[i], static_cast<int64_t>(next - i),
                         buffer_slot(part, i)));
  }
  backend_.record(Queue::kCopies, copied(part.buffer));
  return {};
}

Status ExpertStream::copy_ahead(int64_t layer) {
  for (size_t e = 0; e < choices_.size(); ++e) {
    if (in_slot(layer, e)) continue;
    const bool room =
        !ahead_.empty() && ahead_.back().copied.size() < static_cast<size_t>(part_slots_);
    if (!room && ahead_.size() == buffers_) {
      ahead_.back().last = static_cast<int64_t>(e);
      break;
    }
    Part& part = room ? ahead_.back() : add_part(ahead_, e);
    part.copied.push_back(static_cast<int32_t>(e));
  }
  for (Part& part : ahead_) {
    HLWQ_TRY(start_copies(layer, part));
    part.under_way = true;
  }
  return {};
}

void ExpertStream::hand_over(int64_t layer, const ExpertsArgs& args) {
  std::fill(handed_over_.begin(), handed_over_.end(), uint8_t{0});
  if (worker_ == nullptr) return;
  // Of what was copied ahead the bus has done its part already.
  const size_t under_way_before =
      ahead_.empty() ? 0 : static_cast<size_t>(ahead_.back().copied.back()) + 1;
  missing_.clear();
  for (size_t e = under_way_before; e < choices_.size(); ++e)
    if (choices_[e] > 0 && !in_slot(layer, e)) missing_.push_back(static_cast<int32_t>(e));
  const auto chosen = worker_->choose(missing_, choices_, args.x.x.rows);
  if (chosen.empty()) return;
  worker_->take_rows(args.x.q);
  for (const int32_t e : chosen) handed_over_[static_cast<size_t>(e)] = 1;
}

void ExpertStream::note_times(bool first) {
  constexpr double kLeastWait = 0.05;  // of the layer's time
  const auto now = Clock::now();
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  if (worker_ != nullptr && !first)
    worker_->note_stream(copied_records_, seconds(now - begun_),
                         seconds(now - given_) > kLeastWait * seconds(now - begun_));
  begun_ = now;
  copied_records_ = 0;
}

Status ExpertStream::run(int64_t layer, const ExpertsArgs& given) {
  count_choices(given);
  if (layer == 0) start_step();
  note_times(layer == 0);
  hand_over(layer, given);
  cut(layer);
  ExpertsArgs args = given;
  args.table = table_;
  backend_.upload(table_, addresses_.data(), addresses_.size() * sizeof(ExpertAddress));
  backend_.begin_experts(args);
  for (const Part& part : parts_) {
    if (!part.under_way) HLWQ_TRY(start_copies(layer, part));
    if (!part.copied.empty()) backend_.wait(Queue::kOps, copied(part.buffer));
    backend_.some_experts(args, {.first = part.first, .last = part.last, .choices = choices_});
    backend_.record(Queue::kOps, multiplied(part.buffer));
  }
  if (layer + 1 < store_.layers() && ids_.size() >= kChoicesToCopyAhead * choices_.size())
    HLWQ_TRY(copy_ahead(layer + 1));
  // While all that is on its way.
  if (std::find(handed_over_.begin(), handed_over_.end(), 1) != handed_over_.end())
    backend_.put_experts(args, worker_->multiply(layer, ids_));
  backend_.end_experts(args);
  given_ = Clock::now();
  return {};
}

}  // namespace hlwq
