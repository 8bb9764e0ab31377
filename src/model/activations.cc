#include "model/activations.h"

#include <algorithm>
#include <array>
#include <vector>

#include "model/rope.h"

namespace hlwq {
namespace {

// Largest of each expert dimension over the MoE layers.
MoeConfig largest_moe(const ModelConfig& config) {
  MoeConfig most;
  for (const LayerConfig& layer : config.layers) {
    most.experts = std::max(most.experts, layer.moe.experts);
    most.experts_used = std::max(most.experts_used, layer.moe.experts_used);
    const int64_t mlp_width = layer.kind == LayerKind::kMlp ? layer.mlp_width : 0;
    most.width = std::max({most.width, layer.moe.width, mlp_width});
    most.shared_width = std::max(most.shared_width, layer.moe.shared_width);
    most.latent = std::max(most.latent, layer.moe.latent);
  }
  return most;
}

// Widest hidden layer of a gated MLP.
int64_t gated_width(const ModelConfig& config) {
  int64_t width = 0;
  for (const LayerConfig& layer : config.layers)
    if (layer.kind == LayerKind::kGatedMlp) width = std::max(width, layer.mlp_width);
  return width;
}

int64_t mixed_width(const ModelConfig& config) {
  return std::max({config.mamba.inner(), config.attention.heads * config.attention.head_dim,
                   gated_width(config)});
}

int64_t projected_width(const ModelConfig& config) {
  const AttentionShape& a = config.attention;
  return std::max(
      {config.mamba.projected(), (a.heads + 2 * a.kv_heads) * a.head_dim, 2 * gated_width(config)});
}

size_t rope_bytes(const ModelConfig& config, const StepLimits& limits) {
  if (!config.rope) return 0;
  return static_cast<size_t>(limits.context) * static_cast<size_t>(config.attention.head_dim) *
         sizeof(float);
}

// One of the buffers and how wide it is.
struct Part {
  ActivationBuffer StepBuffers::*buffer;
  int64_t width;
  bool coded_reader;  // coded matrices read it
  std::string_view what;
};

std::vector<Part> parts_of(const ModelConfig& config) {
  const MoeConfig moe = largest_moe(config);
  std::vector<Part> parts = {
      {&StepBuffers::residual, config.hidden, false, "residual stream"},
      {&StepBuffers::normed, config.hidden, true, "normalized activations"},
      {&StepBuffers::projected, projected_width(config), false, "projected activations"},
      {&StepBuffers::mixed, mixed_width(config), true, "mixer outputs"}};
  if (moe.latent > 0) {
    parts.push_back({&StepBuffers::latent, moe.latent, true, "latent activations"});
    parts.push_back({&StepBuffers::latent_sum, moe.latent, true, "latent expert outputs"});
  }
  if (moe.experts_used > 0)
    parts.push_back({&StepBuffers::expert_sum, config.hidden, false, "expert outputs"});
  return parts;
}

// Pairs of a token and an expert in a step.
size_t choices_of(const ModelConfig& config, const StepLimits& limits) {
  return static_cast<size_t>(limits.tokens * largest_moe(config).experts_used);
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

Result<StepBuffers> StepBuffers::create(Backend& backend, const ModelConfig& config,
                                        const StepLimits& limits, bool quantized) {
  StepBuffers b;
  for (const Part& part : parts_of(config)) {
    HLWQ_TRY_ASSIGN(b.*part.buffer,
                    ActivationBuffer::create(backend, limits.tokens, part.width,
                                             quantized && part.coded_reader, part.what));
  }
  if (const size_t choices = choices_of(config, limits); choices > 0) {
    HLWQ_TRY_ASSIGN(b.routed_ids, backend.allocate(choices * sizeof(int32_t), "routed experts"));
    HLWQ_TRY_ASSIGN(b.routed_weights, backend.allocate(choices * sizeof(float), "routed weights"));
  }
  if (config.rope) {
    HLWQ_TRY_ASSIGN(b.rope, backend.allocate(rope_bytes(config, limits), "rotary positions"));
    const std::vector<float> table =
        hlwq::rope_table(*config.rope, config.attention.head_dim, limits.context);
    backend.upload(b.rope.data(), table.data(), table.size() * sizeof(float));
  }
  return b;
}

size_t StepBuffers::bytes_for(const ModelConfig& config, const StepLimits& limits, bool quantized) {
  size_t row_bytes = 0;
  for (const Part& part : parts_of(config)) {
    row_bytes += static_cast<size_t>(part.width) * sizeof(float);
    if (quantized && part.coded_reader)
      row_bytes +=
          static_cast<size_t>(blocks_of(part.width)) * (kBlock + sizeof(float) + sizeof(int32_t));
  }
  return static_cast<size_t>(limits.tokens) * row_bytes +
         choices_of(config, limits) * (sizeof(int32_t) + sizeof(float)) +
         rope_bytes(config, limits);
}

size_t StepBuffers::bytes() const {
  size_t sum = routed_ids.bytes() + routed_weights.bytes() + rope.bytes();
  for (const ActivationBuffer* b :
       std::array{&residual, &normed, &projected, &mixed, &latent, &latent_sum, &expert_sum})
    sum += b->bytes();
  return sum;
}

ScratchNeeds scratch_needs(const ModelConfig& config, const StepLimits& limits) {
  const MoeConfig moe = largest_moe(config);
  return {.tokens = limits.tokens,
          .width = std::max(config.hidden, mixed_width(config)),
          .sum_width = std::max(config.hidden, moe.latent),
          .mlp_width = std::max(moe.width, moe.shared_width),
          .expert_width = moe.width,
          .experts = moe.experts,
          .experts_used = moe.experts_used,
          .context = limits.context,
          .attention = config.attention,
          .mamba = config.mamba};
}

}  // namespace hlwq
