#pragma once
// How a model asks for its routed experts. The model owns this interface; residency, caching and
// streaming implement it and are never included from model code.

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/backend.h"

namespace hlwq {

// What the router chose for the tokens of a step, and what else joins the layer's sum
// (ExpertsArgs).
struct RoutedTokens {
  Activation x;          // [tokens, width]: what the experts read
  const int32_t* ids;    // [tokens, experts_used], ascending within a token
  const float* weights;  // [tokens, experts_used]
  int64_t experts_used;
  const Mlp* shared = nullptr;  // the shared expert, added to y after the routed ones; or null
  MutF32View residual = {};     // [tokens, width]: += y at the end; no data: left out
};

inline ExpertsArgs args_of(const RoutedTokens& routed, std::span<const Mlp> experts,
                           const ExpertAddress* table, MutF32View y) {
  return {.x = routed.x,
          .experts = experts,
          .table = table,
          .ids = routed.ids,
          .weights = routed.weights,
          .experts_used = routed.experts_used,
          .y = y,
          .shared = routed.shared,
          .residual = routed.residual};
}

// What the experts of one MoE layer cost since the last time someone asked.
struct ExpertLayerStats {
  int64_t hits = 0;      // experts of a step that were in the device's memory
  int64_t misses = 0;    // that were not: each moved its record over the bus, but for
  int64_t on_host = 0;   // of those: multiplied by the CPU
  int64_t in_place = 0;  // of those: not kept, no slot was free for them
  int64_t bytes = 0;     // of records that were moved
  double stall_s = 0;    // for which recorded steps waited for them
  double host_s = 0;     // that the CPU took in them
};

class ExpertRunner {
 public:
  virtual ~ExpertRunner() = default;
  // y[t] = weighted sum of token t's experts of MoE layer number `moe_layer` (0 = the first MoE
  // layer), then as RoutedTokens says. The same bits wherever the experts lie.
  [[nodiscard]] virtual Status run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) = 0;
  // Whether run() makes the same calls of ops for every step of so many tokens, so that a step can
  // be recorded.
  [[nodiscard]] virtual bool repeats(int64_t tokens) const = 0;
  // Of each MoE layer, then cleared; empty where all experts are resident. Waits for the device.
  [[nodiscard]] virtual std::vector<ExpertLayerStats> take_stats() { return {}; }
  // As Backend::take_non_finite, of what was not multiplied by the back end itself.
  [[nodiscard]] virtual bool take_non_finite() { return false; }
  // Gives memory of the device back, `bytes` or more if it can; returns how much that was. Waits
  // for the device.
  [[nodiscard]] virtual size_t give_back(size_t /*bytes*/) { return 0; }
  // Bytes it holds on the back end's device.
  [[nodiscard]] virtual size_t device_bytes() const = 0;
};

}  // namespace hlwq
