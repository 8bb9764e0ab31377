// Layers 'M' (docs/math.md#mamba-2).

#include <array>

#include "model/layers/layers.h"

namespace hlwq {

void visit_mamba(const ModelConfig& config, const std::string& prefix, MambaWeights& w,
                 ParameterVisitor& visitor) {
  const MambaShape& m = config.mamba;
  visitor.matrix(prefix + "in_proj.weight", m.projected(), config.hidden, w.in_proj);
  if (config.mamba_bias) visitor.values(prefix + "in_proj.bias", {m.projected()}, w.in_bias);
  visitor.values(prefix + "conv1d.weight", {m.conv_channels(), 1, m.kernel}, w.conv_weight);
  if (config.conv_bias) visitor.values(prefix + "conv1d.bias", {m.conv_channels()}, w.conv_bias);
  visitor.values(prefix + "dt_bias", {m.heads}, w.dt_bias);
  visitor.values(prefix + "A_log", {m.heads}, w.a_log);
  visitor.values(prefix + "D", {m.heads}, w.d);
  visitor.values(prefix + "norm.weight", {m.inner()}, w.norm);
  visitor.matrix(prefix + "out_proj.weight", config.hidden, m.inner(), w.out_proj);
  if (config.mamba_bias) visitor.values(prefix + "out_proj.bias", {config.hidden}, w.out_bias);
}

void run_mamba(const StepContext& step, const MambaWeights& w, const float* norm, float* conv_pool,
               float* ssm_pool) {
  const MambaShape& m = step.config.mamba;
  const Activation u = step.normed(w.in_proj.coded());
  const MutF32View projected = dense(step.buffers.projected.data(), step.tokens, m.projected());
  const std::array in = {Projection{.weight = w.in_proj, .bias = w.in_bias, .y = projected}};
  step.backend.project({.x = u, .projections = in, .norm = step.norm_of(norm)});

  const Activation mixed = step.buffers.mixed.view(step.tokens, m.inner(), w.out_proj.coded());
  step.backend.mamba({.shape = m,
                      .projected = projected,
                      .conv_weight = w.conv_weight,
                      .conv_bias = w.conv_bias,
                      .dt_bias = w.dt_bias,
                      .a_log = w.a_log,
                      .d = w.d,
                      .dt_min = step.config.dt_min,
                      .dt_max = step.config.dt_max,
                      .norm_weight = w.norm,
                      .eps = step.config.eps,
                      .conv_state = conv_pool,
                      .ssm_state = ssm_pool,
                      .segments = step.segments,
                      .out = mixed});

  const std::array out = {Projection{
      .weight = w.out_proj, .bias = w.out_bias, .y = step.residual(), .accumulate = true}};
  step.backend.project({.x = mixed, .projections = out});
}

}  // namespace hlwq
