// LayerStack::decode_bytes: what a decode step must move, for rooflines.

#include <cmath>
#include <variant>

#include "model/layer_stack.h"

namespace hlwq {
namespace {

// Experts that at least one of `sequences` tokens chooses, when every choice is as likely.
double experts_met(const MoeConfig& moe, int64_t sequences) {
  const auto experts = static_cast<double>(moe.experts);
  const double missed = 1.0 - static_cast<double>(moe.experts_used) / experts;
  return experts * (1.0 - std::pow(missed, static_cast<double>(sequences)));
}

}  // namespace

int64_t LayerStack::decode_bytes(int64_t sequences) const {
  double bytes = static_cast<double>(weights_.memory.bytes());
  // Of the embeddings a step reads a row a token.
  const auto embeddings = static_cast<double>(weights_.embeddings.bytes());
  bytes += embeddings / static_cast<double>(config_.vocabulary) * static_cast<double>(sequences);
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    if (const auto* moe = std::get_if<MoeWeights>(&weights_.layers[l].mixer))
      bytes +=
          static_cast<double>(moe->expert_bytes) * experts_met(config_.layers[l].moe, sequences);
  }
  const StateShape state = state_shape();
  const int64_t floats = state.mamba_layers * (state.conv_floats() + state.ssm_floats());
  bytes += 2.0 * static_cast<double>(floats * sequences) * sizeof(float);
  return std::llround(bytes);
}

}  // namespace hlwq
