// What files call the parameters of Llama. A decoder layer is two mixers, attention and a gated
// MLP, each with a norm of its own.

#include <fmt/format.h>

#include "model/llama/llama.h"

namespace hlwq::llama {
namespace {

constexpr int64_t kMixersOfLayer = 2;

MixerNames mixer_names(int64_t mixer) {
  const std::string layer = fmt::format("model.layers.{}.", mixer / kMixersOfLayer);
  if (mixer % kMixersOfLayer == 0)
    return {.norm = layer + "input_layernorm.weight", .prefix = layer + "self_attn."};
  return {.norm = layer + "post_attention_layernorm.weight", .prefix = layer + "mlp."};
}

// One spelling is in use.
std::string canonical_name(std::string_view name) { return std::string(name); }
std::vector<std::string> spellings(std::string_view name) { return {std::string(name)}; }

}  // namespace

const ArchitectureTraits kTraits = {.architecture = Architecture::kLlama,
                                    .model_type = "llama",
                                    .class_name = "LlamaForCausalLM",
                                    .mixers_of_layer = kMixersOfLayer,
                                    .parse = parse_config,
                                    .embeddings = "model.embed_tokens.weight",
                                    .final_norm = "model.norm.weight",
                                    .mixer_names = mixer_names,
                                    .canonical_name = canonical_name,
                                    .spellings = spellings};

}  // namespace hlwq::llama
