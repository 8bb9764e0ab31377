#include "model/nemotron_h/activations.h"

#include <algorithm>
#include <array>
#include <string>

namespace hlwq::nemotron_h {
namespace {

// Largest of each expert dimension over the MoE layers.
MoeConfig largest_moe(const NemotronHConfig& config) {
  MoeConfig most;
  for (const LayerConfig& layer : config.layers) {
    most.experts = std::max(most.experts, layer.moe.experts);
    most.experts_used = std::max(most.experts_used, layer.moe.experts_used);
    most.width = std::max({most.width, layer.moe.width, layer.mlp_width});
    most.shared_width = std::max(most.shared_width, layer.moe.shared_width);
    most.latent = std::max(most.latent, layer.moe.latent);
  }
  return most;
}

int64_t mixed_width(const NemotronHConfig& config) {
  return std::max(config.mamba.inner(), config.attention.heads * config.attention.head_dim);
}

}  // namespace

Result<ActivationBuffer> ActivationBuffer::create(Backend& backend, int64_t tokens, int64_t width,
                                                  bool quantized, std::string_view what) {
  ActivationBuffer buffer;
  const auto rows = static_cast<size_t>(tokens);
  HLWQ_TRY_ASSIGN(buffer.x_,
                  backend.allocate(rows * static_cast<size_t>(width) * sizeof(float), what));
  if (!quantized) return buffer;
  const auto blocks = static_cast<size_t>(blocks_of(width));
  HLWQ_TRY_ASSIGN(buffer.xq_, backend.allocate(rows * blocks * kBlock, what));
  HLWQ_TRY_ASSIGN(buffer.sx_, backend.allocate(rows * blocks * sizeof(float), what));
  HLWQ_TRY_ASSIGN(buffer.sum_, backend.allocate(rows * blocks * sizeof(int32_t), what));
  return buffer;
}

Activation ActivationBuffer::view(int64_t tokens, int64_t cols, bool coded) const {
  Activation a{.x = dense(data(), tokens, cols), .q = {}};
  if (coded && !xq_.empty())
    a.q = {.xq = reinterpret_cast<int8_t*>(xq_.data()),
           .sx = reinterpret_cast<float*>(sx_.data()),
           .sum = reinterpret_cast<int32_t*>(sum_.data()),
           .rows = tokens,
           .blocks = blocks_of(cols)};
  return a;
}

size_t ActivationBuffer::bytes() const {
  return x_.bytes() + xq_.bytes() + sx_.bytes() + sum_.bytes();
}

Result<StepBuffers> StepBuffers::create(Backend& backend, const NemotronHConfig& config,
                                        const StepLimits& limits, bool quantized) {
  const MoeConfig moe = largest_moe(config);
  const AttentionShape& attention = config.attention;
  const int64_t qkv = (attention.heads + 2 * attention.kv_heads) * attention.head_dim;
  const int64_t projected_width = std::max(config.mamba.projected(), qkv);
  const auto make = [&](int64_t width, bool with_int8, std::string_view what) {
    return ActivationBuffer::create(backend, limits.tokens, width, with_int8, what);
  };
  StepBuffers b;
  HLWQ_TRY_ASSIGN(b.residual, make(config.hidden, false, "residual stream"));
  HLWQ_TRY_ASSIGN(b.normed, make(config.hidden, quantized, "normalized activations"));
  HLWQ_TRY_ASSIGN(b.projected, make(projected_width, false, "projected activations"));
  HLWQ_TRY_ASSIGN(b.mixed, make(mixed_width(config), quantized, "mixer outputs"));
  if (moe.latent > 0) {
    HLWQ_TRY_ASSIGN(b.latent, make(moe.latent, quantized, "latent activations"));
    HLWQ_TRY_ASSIGN(b.latent_sum, make(moe.latent, quantized, "latent expert outputs"));
  }
  if (moe.experts_used > 0) {
    HLWQ_TRY_ASSIGN(b.expert_sum, make(config.hidden, false, "expert outputs"));
    const auto choices = static_cast<size_t>(limits.tokens * moe.experts_used);
    HLWQ_TRY_ASSIGN(b.routed_ids, backend.allocate(choices * sizeof(int32_t), "routed experts"));
    HLWQ_TRY_ASSIGN(b.routed_weights, backend.allocate(choices * sizeof(float), "routed weights"));
  }
  return b;
}

size_t StepBuffers::bytes() const {
  size_t sum = routed_ids.bytes() + routed_weights.bytes();
  for (const ActivationBuffer* b :
       std::array{&residual, &normed, &projected, &mixed, &latent, &latent_sum, &expert_sum})
    sum += b->bytes();
  return sum;
}

ScratchNeeds scratch_needs(const NemotronHConfig& config, const StepLimits& limits) {
  const MoeConfig moe = largest_moe(config);
  return {.tokens = limits.tokens,
          .width = std::max(config.hidden, mixed_width(config)),
          .mlp_width = std::max(moe.width, moe.shared_width),
          .experts = moe.experts,
          .experts_used = moe.experts_used,
          .context = limits.context,
          .attention = config.attention,
          .mamba = config.mamba};
}

}  // namespace hlwq::nemotron_h
