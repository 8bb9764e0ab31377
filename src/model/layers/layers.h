#pragma once
// The mixers: each reads the residual stream x, normalizes it into u and adds its output to x.

#include <cstdint>
#include <span>

#include "base/result.h"
#include "model/activations.h"
#include "model/expert_runner.h"
#include "model/model.h"
#include "model/weights.h"
#include "ops/backend.h"

namespace hlwq {

// One step, as every layer sees it.
struct StepContext {
  Backend& backend;
  const ModelConfig& config;
  const StepBuffers& buffers;
  const StepObserver* observer;  // may be null
  std::span<const Segment> segments;
  int64_t tokens;

  // x: [tokens, hidden]
  [[nodiscard]] MutF32View residual() const {
    return dense(buffers.residual.data(), tokens, config.hidden);
  }
  // u = rmsnorm(x, norm): [tokens, hidden]; `coded`: a coded matrix reads it.
  [[nodiscard]] Activation normalize(const float* norm, bool coded) const;
  // The same in two halves, for ops that norm what they read: where u goes, and the norm.
  [[nodiscard]] Activation normed(bool coded) const {
    return buffers.normed.view(tokens, config.hidden, coded);
  }
  [[nodiscard]] Norm norm_of(const float* norm) const {
    return {.x = residual(), .weight = norm, .eps = config.eps};
  }
};

// x += out_proj( gated norm( scan( conv( in_proj u ) ) ) ); updates the pools of this layer.
void run_mamba(const StepContext& step, const MambaWeights& weights, const float* norm,
               float* conv_pool, float* ssm_pool);

// x += o_proj( attention(q, k, v of u) ); appends k and v to the pages of this layer.
void run_attention(const StepContext& step, const AttentionWeights& weights, const float* norm,
                   const KvPages& pages);

// x += down( relu(up u)^2 )
void run_mlp(const StepContext& step, const MlpWeights& weights, const float* norm);

// x += down( silu(gate u) * up u )
void run_gated_mlp(const StepContext& step, const GatedMlpWeights& weights, const float* norm);

// x += routed experts(u or its latent) + shared expert(u). `layer` counts all layers (for the
// observer), `moe_layer` those with experts. Errors: the runner's.
[[nodiscard]] Status run_moe(const StepContext& step, const MoeConfig& moe,
                             const MoeWeights& weights, const float* norm, int64_t layer,
                             int64_t moe_layer, ExpertRunner& experts);

}  // namespace hlwq
