#include "runtime/experts/offloaded_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/units.h"
#include "runtime/experts/slot_budget.h"
#include "runtime/experts/vacate_slots.h"

namespace hlwq {
Result<std::unique_ptr<OffloadedExperts>> OffloadedExperts::create(Backend& backend,
                                                                   ExpertStore store,
                                                                   ExpertCacheOptions options) {
  std::unique_ptr<OffloadedExperts> experts(new OffloadedExperts(backend, std::move(store)));
  HLWQ_TRY(experts->create_worker(options));
  HLWQ_TRY(experts->create_cache(options));
  return experts;
}

OffloadedExperts::~OffloadedExperts() { backend_.synchronize(); }

// Without one the answers are the same.
Status OffloadedExperts::create_worker(ExpertCacheOptions& options) {
  if (options.cpu == nullptr) return {};
  auto worker = HostWorker::create(backend_, std::move(options.cpu), store_, options.cpu_share);
  if (worker) {
    worker_ = std::move(*worker);
    return {};
  }
  if (options.cpu_share) return tl::unexpected(worker.error());
  // Other forms and places are common; a refusal of memory is not.
  log(worker.error().code == ErrorCode::kUnsupported ? LogLevel::kInfo : LogLevel::kWarning,
      fmt::format("{}; none are left to it", worker.error().message));
  return {};
}

Status OffloadedExperts::create_cache(const ExpertCacheOptions& options) {
  const int64_t keys = store_.layers() * store_.experts();
  HLWQ_CHECK(options.hotness.empty() || static_cast<int64_t>(options.hotness.size()) == keys);
  slots_ = SlotPool::allocate(backend_,
                              std::clamp<int64_t>(options.slots, 1, std::min(keys, kMostSlots)),
                              store_.slot_bytes(), options.piece_bytes);
  if (slots_.size() == 0)
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("no room for a single expert of {} on {}",
                            format_bytes(store_.slot_bytes()), backend_.name()));
  const ExpertCacheShape shape = {
      .layers = store_.layers(),
      .experts = store_.experts(),
      .slots = slots_.size(),
      .least_per_layer = least_per_layer(slots_.size(), store_.layers()),
      .policy = options.policy};
  const auto bytes = static_cast<size_t>(lay_out_cache(shape, nullptr).bytes);
  HLWQ_TRY_ASSIGN(state_, backend_.allocate(bytes, "state of the expert cache"));
  HLWQ_TRY_ASSIGN(table_,
                  backend_.allocate(static_cast<size_t>(shape.experts) * sizeof(ExpertAddress),
                                    "table of experts"));
  cache_ = lay_out_cache(shape, state_.data()).cache;

  std::vector<std::byte> image(bytes);
  const ExpertCache host = lay_out_cache(shape, image.data()).cache;
  std::fill_n(host.slots, shape.slots, ExpertSlot{});
  std::fill_n(host.slot_of, keys, -1);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    host.records[layer] = store_.record(layer);
    for (int64_t e = 0; e < shape.experts; ++e)
      host.home[layer * shape.experts + e] = store_.address(layer, e);
  }
  for (int64_t s = 0; s < shape.slots; ++s) host.slot_data[s] = slots_.slot(s);
  const std::vector<int32_t> residents = first_residents(shape, options.hotness);
  for (size_t s = 0; s < residents.size(); ++s) {
    const int32_t key = residents[s];
    host.slots[s].key = key;
    host.slot_of[key] = static_cast<int32_t>(s);
    ++host.held[key / shape.experts];
  }
  if (!options.hotness.empty())
    for (int64_t key = 0; key < keys; ++key)
      host.uses[key].weight = options.hotness[static_cast<size_t>(key)];
  backend_.upload(state_.data(), image.data(), bytes);
  HLWQ_TRY(fill_slots(residents));
  stream_ = std::make_unique<ExpertStream>(backend_, store_, slots_, cache_,
                                           reinterpret_cast<ExpertAddress*>(table_.data()),
                                           worker_.get());
  return {};
}

Status OffloadedExperts::fill_slots(const std::vector<int32_t>& keys) {
  constexpr int kFilled = 0;
  const auto experts = static_cast<int32_t>(store_.experts());
  for (size_t s = 0; s < keys.size(); ++s)
    HLWQ_TRY(store_.copy(backend_, keys[s] / experts, keys[s] % experts, 1,
                         slots_.slot(static_cast<int64_t>(s))));
  backend_.record(Queue::kCopies, kFilled);
  backend_.wait(Queue::kOps, kFilled);
  return {};
}

// By the shape of the step alone: every step of a shape goes the same way. What would turn the
// whole cache over is streamed, so that it stays what decode steps made it.
bool OffloadedExperts::repeats(int64_t tokens) const {
  return store_.pinned() && !is_streamed(store_.layers(), store_.experts(), store_.experts_used(),
                                         tokens, slots_.size());
}

Status OffloadedExperts::run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) {
  HLWQ_CHECK(moe_layer >= 0 && moe_layer < store_.layers());
  auto* const table = reinterpret_cast<ExpertAddress*>(table_.data());
  ExpertsArgs args = args_of(routed, store_.layer(moe_layer), table, y);
  if (!repeats(routed.x.x.rows)) return stream_->run(moe_layer, args);
  const int64_t tokens = routed.x.x.rows;
  HostWorker* const host = tokens <= HostWorker::most_asking_tokens() ? worker_.get() : nullptr;
  backend_.place_experts({.cache = cache_,
                          .layer = moe_layer,
                          .ids = routed.ids,
                          .choices = tokens * routed.experts_used,
                          .table = table,
                          .host = host,
                          .x = routed.x.q});
  args.cache = &cache_;
  args.mail = host == nullptr ? nullptr : &host->mail();
  backend_.experts(args);
  return {};
}

std::vector<ExpertLayerStats> OffloadedExperts::take_stats() {
  std::vector<ExpertCounts> counts(static_cast<size_t>(store_.layers()));
  const size_t bytes = counts.size() * sizeof(ExpertCounts);
  backend_.download(counts.data(), cache_.counts, bytes);
  const std::vector<ExpertCounts> zeros(counts.size());
  backend_.upload(cache_.counts, zeros.data(), bytes);
  std::vector<ExpertLayerStats> stats(counts.size());
  const std::vector<double> host_s =
      worker_ == nullptr ? std::vector<double>(counts.size()) : worker_->take_seconds();
  for (size_t layer = 0; layer < stats.size(); ++layer) {
    ExpertCounts& streamed = stream_->counts()[layer];
    const auto misses = static_cast<int64_t>(counts[layer].misses + streamed.misses);
    const auto on_host = static_cast<int64_t>(counts[layer].on_host + streamed.on_host);
    stats[layer] = {.hits = static_cast<int64_t>(counts[layer].hits + streamed.hits),
                    .misses = misses,
                    .on_host = on_host,
                    .in_place = static_cast<int64_t>(counts[layer].in_place),
                    .bytes = (misses - on_host) * store_.record(static_cast<int64_t>(layer)).bytes,
                    .stall_s = static_cast<double>(counts[layer].stall_ns) * 1e-9,
                    .host_s = host_s[layer]};
    streamed = {};
  }
  return stats;
}

bool OffloadedExperts::take_non_finite() {
  if (worker_ == nullptr) return false;
  backend_.synchronize();  // what the step asked has been answered
  return worker_->take_non_finite();
}

// The state keeps its shape, which recorded steps know: the slots that are gone are marked.
size_t OffloadedExperts::give_back(size_t bytes) {
  backend_.synchronize();
  const size_t dropped = slots_.drop_last(bytes);
  if (dropped == 0) return 0;
  vacate_slots(backend_, cache_, slots_.size(), cache_.shape.slots, kNoSlot);
  log(LogLevel::kWarning, fmt::format("{} of expert slots given back for other uses; {} slots stay",
                                      format_bytes(static_cast<int64_t>(dropped)), slots_.size()));
  return dropped;
}

size_t OffloadedExperts::device_bytes() const {
  return slots_.bytes() + state_.bytes() + table_.bytes();
}

std::vector<float> OffloadedExperts::hotness() const {
  const auto keys = static_cast<size_t>(cache_.shape.keys());
  std::vector<ExpertUse> uses(keys);
  backend_.download(uses.data(), cache_.uses, keys * sizeof(ExpertUse));
  std::vector<uint32_t> steps(static_cast<size_t>(store_.layers()));
  backend_.download(steps.data(), cache_.steps, steps.size() * sizeof(uint32_t));
  std::vector<float> hotness(keys);
  for (size_t key = 0; key < keys; ++key)
    hotness[key] = weight_after(
        uses[key].weight, steps[key / static_cast<size_t>(store_.experts())] - uses[key].last);
  return hotness;
}

}  // namespace hlwq
