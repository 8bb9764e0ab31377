#pragma once
// The arithmetic of a plan: from what was measured to rows.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hlwq/plan.h"
#include "ops/expert_cache.h"
#include "runtime/experts/cache_simulator.h"
#include "runtime/experts/host_share.h"
#include "runtime/experts/slot_budget.h"

namespace hlwq {

struct PlanSpeed {
  double resident_step_s = 0;  // all weights in the device's memory
  double cached_step_s = 0;    // a slot for every expert
  double miss_s = 0;           // what a miss adds, when all come over the bus
  // For an expert, with both at work; 0: the CPU multiplies none.
  double cpu_s = 0, bus_s = 0;
};

// Bytes; the device's, if nothing else is said.
struct PlanInputs {
  int64_t total_bytes = 0, used_bytes = 0;                         // before anything of the model
  int64_t expert_bytes = 0, embedding_bytes = 0, other_bytes = 0;  // of weights, as ModelNeeds
  int64_t scratch_bytes = 0, later_bytes = 0;
  int64_t slot_bytes = 0;  // of the largest expert; no routed experts: all of this is 0
  RoutingShape shape = {};
  PlanSpeed speed = {};
  CachePolicy policy = CachePolicy::kFrecency;
  std::optional<double> cpu_share = {};  // as HostShareOptions::fixed
  Routing routing = {};                  // of the steps; its batch is what is planned for
  bool traced = false;
};

class PlanRows {
 public:
  // `inputs` must outlive this.
  explicit PlanRows(const PlanInputs& inputs);

  // Budgets from 8 slots a layer (fewer where there are fewer than 16 experts) to all experts, or
  // what the device has.
  [[nodiscard]] std::vector<int64_t> ladder() const;
  [[nodiscard]] PlanRow row(int64_t vram_bytes) const;
  [[nodiscard]] int64_t least_bytes() const;     // that leave a slot
  [[nodiscard]] int64_t resident_bytes() const;  // that take everything

 private:
  [[nodiscard]] bool routed() const { return inputs_.shape.layers > 0; }
  // Returns the seconds that they add to a step.
  [[nodiscard]] double add_misses(PlanRow& row) const;

  const PlanInputs& inputs_;
  SlotBudget budget_;
  int64_t warm_up_ = 0;
};

// The fastest row that fits; of equals the smallest.
[[nodiscard]] std::optional<size_t> choose_row(const std::vector<PlanRow>& rows);
[[nodiscard]] std::string advice_of(const PlanResult& plan);

}  // namespace hlwq
