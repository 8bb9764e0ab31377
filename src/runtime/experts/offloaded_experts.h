#pragma once
// Routed experts in host memory, hot ones in slots on the device. A decode step decides on the
// device which slots its experts get (Backend::place_experts), so it can be recorded; a step that
// touches more experts than the cache should take in is streamed (expert_stream.h). The bits are
// the same either way and for any number of slots.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "model/expert_runner.h"
#include "ops/backend.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/expert_stream.h"
#include "runtime/experts/host_worker.h"
#include "runtime/experts/hotness_file.h"
#include "runtime/experts/slot_pool.h"

namespace hlwq {

struct ExpertCacheOptions {
  int64_t slots = 0;  // wanted, of all layers together
  CachePolicy policy = CachePolicy::kFrecency;
  // [layers * experts] how much each was used before: the hottest begin in slots. Empty: the first
  // of every layer do.
  std::vector<float> hotness;
  size_t piece_bytes = 0;  // as OffloadOptions
  // Multiplies some of the experts that are in no slot; null: none. `cpu_share` as
  // HostShareOptions::fixed.
  std::unique_ptr<HostBackend> cpu = {};
  std::optional<double> cpu_share = {};
};

class OffloadedExperts final : public ExpertRunner {
 public:
  // `backend` must outlive this. Errors: kOutOfMemory (not one slot, or not its bookkeeping).
  static Result<std::unique_ptr<OffloadedExperts>> create(Backend& backend, ExpertStore store,
                                                          ExpertCacheOptions options);
  ~OffloadedExperts() override;

  [[nodiscard]] Status run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) override;
  [[nodiscard]] bool repeats(int64_t tokens) const override;
  [[nodiscard]] std::vector<ExpertLayerStats> take_stats() override;
  [[nodiscard]] bool take_non_finite() override;
  [[nodiscard]] size_t give_back(size_t bytes) override;
  [[nodiscard]] size_t device_bytes() const override;

  [[nodiscard]] int64_t slots() const { return slots_.size(); }
  [[nodiscard]] HotnessShape hotness_shape() const { return {store_.layers(), store_.experts()}; }
  // The host's part; null: it has none.
  [[nodiscard]] const HostWorker* worker() const { return worker_.get(); }
  // [layers * experts] how much each was used, late uses weighing more. Waits for the device.
  [[nodiscard]] std::vector<float> hotness() const;

 private:
  OffloadedExperts(Backend& backend, ExpertStore store)
      : backend_(backend), store_(std::move(store)) {}

  [[nodiscard]] Status create_cache(const ExpertCacheOptions& options);
  // Errors: as HostWorker::create, when a share was asked for.
  [[nodiscard]] Status create_worker(ExpertCacheOptions& options);
  // Copies the records of `keys` to the slots of those indices.
  [[nodiscard]] Status fill_slots(const std::vector<int32_t>& keys);

  Backend& backend_;
  ExpertStore store_;
  SlotPool slots_;
  Buffer state_, table_;
  ExpertCache cache_;                   // in state_
  std::unique_ptr<HostWorker> worker_;  // or null
  std::unique_ptr<ExpertStream> stream_;
};

}  // namespace hlwq
