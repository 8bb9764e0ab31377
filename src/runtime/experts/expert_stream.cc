#include "runtime/experts/expert_stream.h"

#include <algorithm>

#include "base/check.h"

namespace hlwq {
namespace {

// A copy should be long enough for the full speed of the bus, and short enough that little waits
// for the first and the last: 9 experts of 6.5 MB.
constexpr int64_t kBufferBytes = int64_t{64} << 20;

// Fences of buffer b: its copies have arrived; its experts have been multiplied.
int copied(size_t b) { return static_cast<int>(b); }
int multiplied(size_t b) { return 2 + static_cast<int>(b); }

}  // namespace

ExpertStream::ExpertStream(Backend& backend, const ExpertStore& store, const SlotPool& slots,
                           const ExpertCache& cache, ExpertAddress* table)
    : backend_(backend), store_(store), slots_(slots), cache_(cache), table_(table) {
  buffers_ = slots.size() > 1 ? 2 : 1;
  part_slots_ = std::clamp<int64_t>(kBufferBytes / store.slot_bytes(), 1,
                                    slots.size() / static_cast<int64_t>(buffers_));
  choices_.resize(static_cast<size_t>(store.experts()));
  addresses_.resize(choices_.size());
  slot_of_.resize(static_cast<size_t>(cache.shape.keys()));
  counts_.resize(static_cast<size_t>(store.layers()));
}

std::byte* ExpertStream::buffer_slot(size_t part, size_t index) const {
  return slots_.slot(static_cast<int64_t>(part % buffers_) * part_slots_ +
                     static_cast<int64_t>(index));
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
  backend_.download(slot_of_.data(), cache_.slot_of, slot_of_.size() * sizeof(int32_t));
  std::vector<ExpertSlot> taken(buffers_ * static_cast<size_t>(part_slots_));
  backend_.download(taken.data(), cache_.slots, taken.size() * sizeof(ExpertSlot));
  std::vector<int32_t> held(static_cast<size_t>(store_.layers()));
  backend_.download(held.data(), cache_.held, held.size() * sizeof(int32_t));
  bool any = false;
  for (ExpertSlot& slot : taken) {
    if (slot.key < 0) continue;
    any = true;
    slot_of_[static_cast<size_t>(slot.key)] = -1;
    --held[static_cast<size_t>(slot.key / store_.experts())];
    slot = {};
  }
  if (!any) return;
  backend_.upload(cache_.slots, taken.data(), taken.size() * sizeof(ExpertSlot));
  backend_.upload(cache_.slot_of, slot_of_.data(), slot_of_.size() * sizeof(int32_t));
  backend_.upload(cache_.held, held.data(), held.size() * sizeof(int32_t));
}

// The layer's experts in parts of at most part_slots_ copies; what is in slots joins the part
// around it. Fills addresses_.
void ExpertStream::cut(int64_t layer) {
  const ExpertRecord& record = store_.record(layer);
  ExpertCounts& counts = counts_[static_cast<size_t>(layer)];
  const auto experts = static_cast<size_t>(store_.experts());
  parts_.assign(1, Part{});
  for (size_t e = 0; e < experts; ++e) {
    if (choices_[e] == 0) continue;
    const int32_t slot = slot_of_[static_cast<size_t>(layer) * experts + e];
    const std::byte* at = nullptr;
    if (slot >= 0) {
      ++counts.hits;
      at = slots_.slot(slot);
    } else {
      ++counts.misses;
      if (parts_.back().copied.size() == static_cast<size_t>(part_slots_)) {
        parts_.back().last = static_cast<int64_t>(e);
        parts_.push_back({.first = static_cast<int64_t>(e), .last = 0, .copied = {}});
      }
      at = buffer_slot(parts_.size() - 1, parts_.back().copied.size());
      parts_.back().copied.push_back(static_cast<int32_t>(e));
    }
    addresses_[e] = {.up = at, .down = at + record.down_offset};
  }
  parts_.back().last = static_cast<int64_t>(experts);
}

Status ExpertStream::run(int64_t layer, const ExpertsArgs& given) {
  count_choices(given);
  if (layer == 0) start_step();
  cut(layer);
  ExpertsArgs args = given;
  args.table = table_;
  backend_.upload(table_, addresses_.data(), addresses_.size() * sizeof(ExpertAddress));
  backend_.begin_experts(args);
  const int64_t stride = store_.slot_bytes(), bytes = store_.record(layer).bytes;
  for (size_t p = 0; p < parts_.size(); ++p) {
    const Part& part = parts_[p];
    const size_t buffer = p % buffers_;
    if (!part.copied.empty()) {
      backend_.wait(Queue::kCopies, multiplied(buffer));
      for (size_t i = 0, next; i < part.copied.size(); i = next) {
        // Neighbours go together where both sides are without gaps.
        for (next = i + 1; next < part.copied.size(); ++next)
          if (stride != bytes || part.copied[next] != part.copied[next - 1] + 1 ||
              buffer_slot(p, next) != buffer_slot(p, next - 1) + stride)
            break;
        store_.copy(backend_, layer, part.copied[i], static_cast<int64_t>(next - i),
                    buffer_slot(p, i));
      }
      backend_.record(Queue::kCopies, copied(buffer));
      backend_.wait(Queue::kOps, copied(buffer));
    }
    backend_.some_experts(args, {.first = part.first, .last = part.last, .choices = choices_});
    backend_.record(Queue::kOps, multiplied(buffer));
  }
  backend_.end_experts(args);
  return {};
}

}  // namespace hlwq
