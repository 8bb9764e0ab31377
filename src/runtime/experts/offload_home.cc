#include "runtime/experts/offload_home.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/thread_pool.h"
#include "base/units.h"
#include "model/resident_experts.h"
#include "runtime/experts/hotness_file.h"

namespace hlwq {
namespace {

// Pages are made by many threads: pinning alone would make them one by one.
void touch(std::byte* memory, size_t bytes, int threads) {
  constexpr size_t kPage = 4096;
  ThreadPool pool(threads);
  pool.run_ranges(
      static_cast<int64_t>((bytes + kPage - 1) / kPage), 512, [&](int64_t begin, int64_t end) {
        for (int64_t page = begin; page < end; ++page)
          *reinterpret_cast<volatile std::byte*>(memory + static_cast<size_t>(page) * kPage) =
              std::byte{0};
      });
}

std::string text(int64_t bytes) { return format_bytes(bytes); }

int64_t used_bytes(const Backend& backend) {
  const DeviceMemory memory = backend.memory();
  return static_cast<int64_t>(memory.total - memory.free);
}

}  // namespace

void OffloadHome::choose(const Backend& backend, size_t expert_bytes, size_t other_bytes) {
  if (options_.slots_per_layer > 0) return;
  resident_ =
      used_bytes(backend) + static_cast<int64_t>(expert_bytes + other_bytes) <= options_.vram_bytes;
}

Result<Buffer> OffloadHome::allocate(Backend& backend, size_t bytes, std::string_view what) {
  if (resident_) return backend.allocate(bytes, what);
  HLWQ_TRY_ASSIGN(Buffer memory, allocate_host(bytes, what));
  if (refused_) return memory;
  touch(memory.data(), memory.bytes(), backend.threads());
  auto pin = backend.pin(memory.data(), memory.bytes());
  if (pin) {
    pins_.push_back(std::move(*pin));
    return memory;
  }
  refused_ = true;
  pins_.clear();
  log(LogLevel::kWarning,
      fmt::format("{}; experts are copied through the driver's buffers, which is much slower "
                  "(look at ulimit -l)",
                  pin.error().message));
  return memory;
}

// As many as were asked for or the budget leaves, but no more than there is room for now, which may
// be less than when the load began.
Result<int64_t> OffloadHome::slots_for(const Backend& backend, const ExpertStore& store,
                                       size_t later_bytes) const {
  const int64_t keys = std::min(store.layers() * store.experts(), kMostSlots);
  const int64_t later = static_cast<int64_t>(later_bytes) +
                        OffloadedExperts::bookkeeping_bytes(
                            {.layers = store.layers(), .experts = store.experts(), .slots = keys});
  const DeviceMemory memory = backend.memory();
  const auto used = static_cast<int64_t>(memory.total - memory.free);
  const int64_t room = (static_cast<int64_t>(memory.free) - later) / store.slot_bytes();
  const int64_t wanted = options_.slots_per_layer > 0
                             ? std::min(options_.slots_per_layer, store.experts()) * store.layers()
                             : (options_.vram_bytes - used - later) / store.slot_bytes();
  if (const int64_t slots = std::min({keys, wanted, room}); slots >= 1) {
    if (slots < std::min(keys, wanted))
      log(LogLevel::kWarning,
          fmt::format("{} has {} free, room for {} of {} expert slots", backend.name(),
                      text(static_cast<int64_t>(memory.free)), slots, std::min(keys, wanted)));
    return slots;
  }
  return fail(ErrorCode::kOutOfMemory,
              fmt::format("{}: everything beside the routed experts needs {} of {} on {}, one "
                          "expert {} more; a smaller --context or --prefill-chunk needs less",
                          options_.slots_per_layer > 0
                              ? fmt::format("--moe-expert-cache-size {}", options_.slots_per_layer)
                              : fmt::format("--vram {}", text(options_.vram_bytes)),
                          text(used + later), text(static_cast<int64_t>(memory.total)),
                          backend.name(), text(store.slot_bytes())));
}

Result<std::unique_ptr<ExpertRunner>> OffloadHome::make_runner(Backend& backend,
                                                               LoadedExperts experts,
                                                               size_t later_bytes) {
  if (resident_ || experts.layers.empty())
    return ResidentExperts::create(backend, std::move(experts));
  HLWQ_TRY_ASSIGN(ExpertStore store,
                  ExpertStore::create(backend, std::move(experts), std::move(pins_)));
  ExpertCacheOptions options{.slots = 0, .policy = options_.policy, .hotness = {}};
  HLWQ_TRY_ASSIGN(options.slots, slots_for(backend, store, later_bytes));
  const HotnessShape shape = {store.layers(), store.experts()};
  if (!options_.hotness_file.empty()) options.hotness = read_hotness(options_.hotness_file, shape);
  const bool warm = !options.hotness.empty(), pinned = store.pinned();
  const int64_t keys = shape.layers * shape.experts, slot_bytes = store.slot_bytes();
  HLWQ_TRY_ASSIGN(auto runner, OffloadedExperts::create(backend, std::move(store), options));
  if (runner->slots() < options.slots)
    log(LogLevel::kWarning, fmt::format("{} gave room for {} of {} expert slots", backend.name(),
                                        runner->slots(), options.slots));
  log(LogLevel::kInfo,
      fmt::format("experts: {} of {} in slots on {} ({}, {}), all in {} of {} host memory; {}",
                  runner->slots(), keys, backend.name(), text(runner->slots() * slot_bytes),
                  options_.slots_per_layer > 0
                      ? fmt::format("{} a layer as asked for", options_.slots_per_layer)
                      : fmt::format("what --vram {} leaves", text(options_.vram_bytes)),
                  text(keys * slot_bytes), pinned ? "pinned" : "plain",
                  warm ? "the most used of last time first" : "the first of each layer first"));
  runner_ = runner.get();
  return runner;
}

Status OffloadHome::save_hotness() const {
  if (runner_ == nullptr || options_.hotness_file.empty()) return {};
  return write_hotness(options_.hotness_file, runner_->hotness_shape(), runner_->hotness());
}

}  // namespace hlwq
