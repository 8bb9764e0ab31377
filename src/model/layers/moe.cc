// Layers 'E': router, routed experts, shared expert (docs/math.md#router). With LatentMoE the
// routed experts work on fc1 u and their sum goes through fc2; the router and the shared expert
// always see u.

#include <array>
#include <vector>

#include "model/layers/layers.h"

namespace hlwq {

void visit_moe(const ModelConfig& config, const MoeConfig& moe, const std::string& prefix,
               MoeWeights& w, ParameterVisitor& visitor) {
  const int64_t hidden = config.hidden;
  visitor.plain_matrix(prefix + "gate.weight", moe.experts, hidden, w.gate);
  visitor.values(prefix + "gate.e_score_correction_bias", {moe.experts}, w.correction_bias);
  if (moe.latent > 0) {
    visitor.matrix(prefix + "fc1_latent_proj.weight", moe.latent, hidden, w.fc1);
    visitor.matrix(prefix + "fc2_latent_proj.weight", hidden, moe.latent, w.fc2);
  }
  w.experts.resize(static_cast<size_t>(moe.experts));
  visitor.experts(prefix + "experts", moe.width, moe.latent > 0 ? moe.latent : hidden, w.experts);
  if (moe.shared_width > 0) {
    visitor.matrix(prefix + "shared_experts.up_proj.weight", moe.shared_width, hidden, w.shared.up);
    visitor.matrix(prefix + "shared_experts.down_proj.weight", hidden, moe.shared_width,
                   w.shared.down);
  }
}

namespace {

// D1: the routed experts from +0 in ascending order, then the shared one, then the residual. With
// LatentMoE the routed experts' sum is of another width, so what follows it are ops of their own.
Status run_latent(const StepContext& step, const MoeConfig& moe, const MoeWeights& w,
                  const Activation& u, RoutedTokens routed, int64_t moe_layer, ExpertRunner& runner,
                  MutF32View sum) {
  routed.x = step.buffers.latent.view(step.tokens, moe.latent, w.experts_coded);
  const std::array in = {Projection{.weight = w.fc1, .y = routed.x.x}};
  step.backend.project({.x = u, .projections = in});
  step.backend.quantize({.a = routed.x});

  const Activation latent_sum =
      step.buffers.latent_sum.view(step.tokens, moe.latent, w.fc2.coded());
  HLWQ_TRY(runner.run(moe_layer, routed, latent_sum.x));
  step.backend.quantize({.a = latent_sum});
  const std::array out = {Projection{.weight = w.fc2, .y = sum}};
  step.backend.project({.x = latent_sum, .projections = out});
  if (moe.shared_width > 0)
    step.backend.mlp({.x = u, .mlp = w.shared, .y = sum, .accumulate = true});
  step.backend.add({.x = sum, .y = step.residual()});
  return {};
}

void observe_routed(const StepContext& step, int64_t layer, const RoutedTokens& routed) {
  if (step.observer == nullptr || !step.observer->routed) return;
  const auto choices = static_cast<size_t>(step.tokens * routed.experts_used);
  std::vector<int32_t> ids(choices);
  std::vector<float> weights(choices);
  step.backend.download(ids.data(), routed.ids, choices * sizeof(int32_t));
  step.backend.download(weights.data(), routed.weights, choices * sizeof(float));
  step.observer->routed(layer, ids.data(), weights.data(), step.tokens, routed.experts_used);
}

}  // namespace

Status run_moe(const StepContext& step, const MoeConfig& moe, const MoeWeights& w,
               const float* norm, int64_t layer, int64_t moe_layer, ExpertRunner& experts) {
  const bool shared = moe.shared_width > 0;
  const bool coded =
      (moe.latent > 0 ? w.fc1.coded() : w.experts_coded) || (shared && w.shared.up.coded());
  const Activation u = step.normed(coded);
  auto* const ids = reinterpret_cast<int32_t*>(step.buffers.routed_ids.data());
  auto* const weights = reinterpret_cast<float*>(step.buffers.routed_weights.data());
  step.backend.route({.norm = step.norm_of(norm),
                      .u = u,
                      .gate = w.gate,
                      .correction_bias = w.correction_bias,
                      .groups = moe.groups,
                      .groups_used = moe.groups_used,
                      .experts_used = moe.experts_used,
                      .normalize = moe.normalize,
                      .scale = moe.scale,
                      .ids = ids,
                      .weights = weights});
  RoutedTokens routed{.x = u, .ids = ids, .weights = weights, .experts_used = moe.experts_used};
  observe_routed(step, layer, routed);

  const MutF32View sum = dense(step.buffers.expert_sum.data(), step.tokens, step.config.hidden);
  if (moe.latent > 0) return run_latent(step, moe, w, u, routed, moe_layer, experts, sum);
  routed.shared = shared ? &w.shared : nullptr;
  routed.residual = step.residual();
  return experts.run(moe_layer, routed, sum);
}

}  // namespace hlwq
