// Layers 'G': a dense MLP with a gate, SiLU (docs/math.md#gated-mlp).

#include <array>

#include "model/layers/layers.h"

namespace hlwq {

void visit_gated_mlp(const ModelConfig& config, int64_t width, const std::string& prefix,
                     GatedMlpWeights& w, ParameterVisitor& visitor) {
  const bool bias = config.mlp_bias;
  visitor.matrix(prefix + "gate_proj.weight", width, config.hidden, w.gate);
  if (bias) visitor.values(prefix + "gate_proj.bias", {width}, w.gate_bias);
  visitor.matrix(prefix + "up_proj.weight", width, config.hidden, w.up);
  if (bias) visitor.values(prefix + "up_proj.bias", {width}, w.up_bias);
  visitor.matrix(prefix + "down_proj.weight", config.hidden, width, w.down);
  if (bias) visitor.values(prefix + "down_proj.bias", {config.hidden}, w.down_bias);
}

void run_gated_mlp(const StepContext& step, const GatedMlpWeights& w, const float* norm) {
  const int64_t tokens = step.tokens, width = w.gate.rows;
  float* const data = step.buffers.projected.data();
  const MutF32View gate = dense(data, tokens, width);
  const MutF32View up = dense(data + tokens * width, tokens, width);
  const std::array in = {Projection{.weight = w.gate, .bias = w.gate_bias, .y = gate},
                         Projection{.weight = w.up, .bias = w.up_bias, .y = up}};
  step.backend.project({.x = step.normed(w.gate.coded() || w.up.coded()),
                        .projections = in,
                        .norm = step.norm_of(norm)});

  const Activation hidden = step.buffers.mixed.view(tokens, width, w.down.coded());
  step.backend.silu_gate({.gate = gate, .up = up, .out = hidden});

  const std::array out = {
      Projection{.weight = w.down, .bias = w.down_bias, .y = step.residual(), .accumulate = true}};
  step.backend.project({.x = hidden, .projections = out});
}

}  // namespace hlwq
