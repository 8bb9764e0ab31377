#pragma once
// How a model asks for its routed experts. The model owns this interface; residency, caching and
// streaming implement it and are never included from model code.

#include <cstdint>

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

class ExpertRunner {
 public:
  virtual ~ExpertRunner() = default;
  // y[t] = weighted sum of token t's experts of MoE layer number `moe_layer` (0 = the first MoE
  // layer), then as RoutedTokens says. The same bits wherever the experts lie.
  [[nodiscard]] virtual Status run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) = 0;
  // Bytes it holds on the back end's device.
  [[nodiscard]] virtual size_t device_bytes() const = 0;
};

}  // namespace hlwq
