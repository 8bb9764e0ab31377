#include "model/model.h"

namespace hlwq {

StateShape state_shape_of(const ModelConfig& config) {
  return {.mamba_layers = config.count(LayerKind::kMamba),
          .mamba = config.mamba,
          .attention_layers = config.count(LayerKind::kAttention),
          .attention = config.attention};
}

}  // namespace hlwq
