#include <string>

#include "model/architecture.h"
#include "model/weights.h"

namespace hlwq {

void visit_parameters(const ModelConfig& config, ModelWeights& weights, ParameterVisitor& visitor) {
  const ArchitectureTraits& traits = traits_of(config.architecture);
  visitor.matrix(std::string(traits.embeddings), config.vocabulary, config.hidden,
                 weights.embeddings);
  weights.layers.resize(config.layers.size());
  for (size_t l = 0; l < config.layers.size(); ++l) {
    const LayerConfig& layer = config.layers[l];
    LayerWeights& w = weights.layers[l];
    const auto [norm, mixer] = traits.mixer_names(static_cast<int64_t>(l));
    visitor.values(norm, {config.hidden}, w.norm);
    switch (layer.kind) {
      case LayerKind::kMamba:
        visit_mamba(config, mixer, w.mixer.emplace<MambaWeights>(), visitor);
        break;
      case LayerKind::kAttention:
        visit_attention(config, mixer, w.mixer.emplace<AttentionWeights>(), visitor);
        break;
      case LayerKind::kMlp:
        visit_mlp(config, layer.mlp_width, mixer, w.mixer.emplace<MlpWeights>(), visitor);
        break;
      case LayerKind::kGatedMlp:
        visit_gated_mlp(config, layer.mlp_width, mixer, w.mixer.emplace<GatedMlpWeights>(),
                        visitor);
        break;
      case LayerKind::kMoe:
        visit_moe(config, layer.moe, mixer, w.mixer.emplace<MoeWeights>(), visitor);
        break;
    }
  }
  visitor.values(std::string(traits.final_norm), {config.hidden}, weights.norm_f);
  if (!config.tied_head)
    visitor.matrix("lm_head.weight", config.vocabulary, config.hidden, weights.head);
}

}  // namespace hlwq
