#include "runtime/experts/offload_home.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/available_memory.h"
#include "base/check.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "base/units.h"
#include "model/resident_experts.h"
#include "runtime/experts/hotness_file.h"
#include "runtime/experts/slot_budget.h"

namespace hlwq {
namespace {

// What a load takes of host memory beside the experts, and of a file beside their bytes (each layer
// begins a page).
constexpr int64_t kHostBytesBeside = int64_t{512} << 20;
constexpr uint64_t kFileBytesBeside = uint64_t{4} << 20;

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

}  // namespace

Status OffloadHome::choose(const Backend& backend, size_t expert_bytes, size_t other_bytes) {
  const DeviceMemory memory = backend.memory();
  const auto needed_there = static_cast<int64_t>(expert_bytes + other_bytes);
  const int64_t in_all = static_cast<int64_t>(memory.total - memory.free) + needed_there;
  // A budget may be larger than the card.
  resident_ = options_.slots_per_layer == 0 && in_all <= options_.vram_bytes &&
              needed_there <= static_cast<int64_t>(memory.free);
  if (!resident_ && expert_bytes == 0) {
    if (options_.slots_per_layer == 0 && in_all > options_.vram_bytes)
      return fail(ErrorCode::kOutOfMemory,
                  fmt::format("--vram {}: the model needs {} of {} and has no routed experts that "
                              "could stay in host memory",
                              text(options_.vram_bytes), text(in_all), backend.name()));
    resident_ = true;
  }
  if (resident_) return {};
  const int64_t available = available_memory_bytes();
  const auto needed = static_cast<int64_t>(expert_bytes) + kHostBytesBeside;
  in_file_ = options_.always_file || (available > 0 && needed > available);
  if (in_file_ && options_.file_folder.empty())
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("the routed experts need {} of host memory, {} are available; "
                            "--expert-file auto keeps them in a file",
                            text(needed), text(available)));
  file_bytes_ = expert_bytes + kFileBytesBeside;
  return {};
}

Result<Buffer> OffloadHome::allocate(Backend& backend, size_t bytes, std::string_view what) {
  if (resident_) return backend.allocate(bytes, what);
  if (in_file_) return map_of_file(bytes, what);
  HLWQ_TRY_ASSIGN(Buffer memory, allocate_host(bytes, what));
  if (refused_) return memory;
  touch(memory.data(), memory.bytes(), backend.threads());
  auto pin = backend.pin(memory.data(), memory.bytes());
  if (pin) {
    memory_.pins.push_back(std::move(*pin));
    return memory;
  }
  refused_ = true;
  memory_.pins.clear();
  log(LogLevel::kWarning,
      fmt::format("{}; experts are copied through the driver's buffers, which is much slower "
                  "(look at ulimit -l)",
                  pin.error().message));
  return memory;
}

Result<Buffer> OffloadHome::map_of_file(size_t bytes, std::string_view what) {
  constexpr uint64_t kPage = 4096;
  if (!memory_.file) {
    HLWQ_TRY_ASSIGN(memory_.file, ScratchFile::create(options_.file_folder, file_bytes_));
    log(LogLevel::kWarning,
        fmt::format("experts go to a scratch file of {} in {}: tokens wait for it",
                    text(static_cast<int64_t>(file_bytes_)), options_.file_folder));
  }
  memory_.offsets.push_back(file_end_);
  file_end_ = (file_end_ + bytes + kPage - 1) / kPage * kPage;
  HLWQ_CHECK(file_end_ <= file_bytes_);
  return memory_.file->map(memory_.offsets.back(), bytes, what);
}

// As many as were asked for or the budget leaves, but no more than there is room for now, which may
// be less than when the load began.
Result<int64_t> OffloadHome::slots_for(const Backend& backend, const ExpertStore& store,
                                       size_t later_bytes) const {
  const DeviceMemory memory = backend.memory();
  const SlotBudget budget = {.layers = store.layers(),
                             .experts = store.experts(),
                             .slot_bytes = store.slot_bytes(),
                             .vram_bytes = options_.vram_bytes,
                             .slots_per_layer = options_.slots_per_layer,
                             .used_bytes = static_cast<int64_t>(memory.total - memory.free),
                             .free_bytes = static_cast<int64_t>(memory.free),
                             .later_bytes = static_cast<int64_t>(later_bytes)};
  if (const int64_t slots = budget.slots(); slots >= 1) {
    if (slots < budget.wanted_slots())
      log(LogLevel::kWarning,
          fmt::format("{} has {} free, room for {} of {} expert slots", backend.name(),
                      text(budget.free_bytes), slots, budget.wanted_slots()));
    return slots;
  }
  return fail(ErrorCode::kOutOfMemory,
              fmt::format("{}: everything beside the routed experts needs {} of {} on {}, one "
                          "expert {} more; a smaller --context or --prefill-chunk needs less",
                          options_.slots_per_layer > 0
                              ? fmt::format("--moe-expert-cache-size {}", options_.slots_per_layer)
                              : fmt::format("--vram {}", text(options_.vram_bytes)),
                          text(budget.bytes_for(0)), text(static_cast<int64_t>(memory.total)),
                          backend.name(), text(store.slot_bytes())));
}

Result<std::unique_ptr<ExpertRunner>> OffloadHome::make_runner(Backend& backend,
                                                               LoadedExperts experts,
                                                               size_t later_bytes) {
  if (resident_) return ResidentExperts::create(backend, std::move(experts));
  HLWQ_TRY_ASSIGN(ExpertStore store,
                  ExpertStore::create(backend, std::move(experts), std::move(memory_)));
  ExpertCacheOptions options{.slots = 0,
                             .policy = options_.policy,
                             .hotness = {},
                             .piece_bytes = options_.piece_bytes,
                             .cpu = std::move(options_.cpu),
                             .cpu_share = options_.cpu_share};
  HLWQ_TRY_ASSIGN(options.slots, slots_for(backend, store, later_bytes));
  const HotnessShape shape = {store.layers(), store.experts()};
  if (!options_.hotness_file.empty()) options.hotness = read_hotness(options_.hotness_file, shape);
  const bool warm = !options.hotness.empty();
  const int64_t wanted = options.slots;
  const char* const where = store.in_file()  ? "a scratch file"
                            : store.pinned() ? "pinned host memory"
                                             : "plain host memory";
  const int64_t keys = shape.layers * shape.experts, slot_bytes = store.slot_bytes();
  HLWQ_TRY_ASSIGN(auto runner,
                  OffloadedExperts::create(backend, std::move(store), std::move(options)));
  if (runner->slots() < wanted)
    log(LogLevel::kWarning, fmt::format("{} gave room for {} of {} expert slots", backend.name(),
                                        runner->slots(), wanted));
  log(LogLevel::kInfo,
      fmt::format("experts: {} of {} in slots on {} ({}, {}), all {} of them in {}; {}",
                  runner->slots(), keys, backend.name(), text(runner->slots() * slot_bytes),
                  options_.slots_per_layer > 0
                      ? fmt::format("{} a layer as asked for", options_.slots_per_layer)
                      : fmt::format("what --vram {} leaves", text(options_.vram_bytes)),
                  text(keys * slot_bytes), where,
                  warm ? "the most used of last time first" : "the first of each layer first"));
  runner_ = runner.get();
  return runner;
}

const HostShare* OffloadHome::host_share() const {
  return runner_ == nullptr || runner_->worker() == nullptr ? nullptr : &runner_->worker()->share();
}

Status OffloadHome::save_hotness() const {
  if (runner_ == nullptr || options_.hotness_file.empty()) return {};
  return write_hotness(options_.hotness_file, runner_->hotness_shape(), runner_->hotness());
}

}  // namespace hlwq
