// Layers '-': a dense two-matrix MLP with squared ReLU, no gate.

#include "model/layers/layers.h"

namespace hlwq {

void visit_mlp(const ModelConfig& config, int64_t width, const std::string& prefix, MlpWeights& w,
               ParameterVisitor& visitor) {
  visitor.matrix(prefix + "up_proj.weight", width, config.hidden, w.mlp.up);
  if (config.mlp_bias) visitor.values(prefix + "up_proj.bias", {width}, w.up_bias);
  visitor.matrix(prefix + "down_proj.weight", config.hidden, width, w.mlp.down);
  if (config.mlp_bias) visitor.values(prefix + "down_proj.bias", {config.hidden}, w.down_bias);
}

void run_mlp(const StepContext& step, const MlpWeights& w, const float* norm) {
  step.backend.mlp({.x = step.normalize(norm, w.mlp.up.coded()),
                    .mlp = w.mlp,
                    .up_bias = w.up_bias,
                    .down_bias = w.down_bias,
                    .y = step.residual(),
                    .accumulate = true});
}

}  // namespace hlwq
