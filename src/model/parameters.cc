#include <string>

#include "model/weights.h"

namespace hlwq {

void visit_parameters(const ModelConfig& config, ModelWeights& weights, ParameterVisitor& visitor) {
  visitor.matrix("backbone.embeddings.weight", config.vocabulary, config.hidden,
                 weights.embeddings);
  weights.layers.resize(config.layers.size());
  for (size_t l = 0; l < config.layers.size(); ++l) {
    const LayerConfig& layer = config.layers[l];
    LayerWeights& w = weights.layers[l];
    const std::string prefix = "backbone.layers." + std::to_string(l) + ".";
    const std::string mixer = prefix + "mixer.";
    visitor.values(prefix + "norm.weight", {config.hidden}, w.norm);
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
      case LayerKind::kMoe:
        visit_moe(config, layer.moe, mixer, w.mixer.emplace<MoeWeights>(), visitor);
        break;
    }
  }
  visitor.values("backbone.norm_f.weight", {config.hidden}, weights.norm_f);
  if (!config.tied_head)
    visitor.matrix("lm_head.weight", config.vocabulary, config.hidden, weights.head);
}

}  // namespace hlwq
