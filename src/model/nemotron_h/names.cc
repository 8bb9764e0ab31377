// What files call the parameters of Nemotron-H (docs/format.md#names).

#include <fmt/format.h>

#include "model/expert_names.h"
#include "model/nemotron_h/nemotron_h.h"

namespace hlwq::nemotron_h {
namespace {

constexpr std::string_view kOurs = "backbone.", kTheirs = "model.";  // NVIDIA's, transformers'
constexpr std::string_view kEmbeddings = "backbone.embeddings.weight";
constexpr std::string_view kOneEmbedding = "backbone.embedding.weight";

MixerNames mixer_names(int64_t mixer) {
  const std::string layer = fmt::format("backbone.layers.{}.", mixer);
  return {.norm = layer + "norm.weight", .prefix = layer + "mixer."};
}

std::string canonical_name(std::string_view name) {
  std::string canonical(name);
  if (name.starts_with(kTheirs))
    canonical = fmt::format("{}{}", kOurs, name.substr(kTheirs.size()));
  if (canonical == kOneEmbedding) canonical = kEmbeddings;
  if (auto expert = expert_of_sliced_name(canonical)) return *std::move(expert);
  return canonical;
}

std::vector<std::string> spellings(std::string_view name) {
  std::vector<std::string> names = {std::string(name)};
  if (name == kEmbeddings) names.emplace_back(kOneEmbedding);
  for (size_t i = 0, count = names.size(); i < count; ++i)
    if (names[i].starts_with(kOurs))
      names.push_back(fmt::format("{}{}", kTheirs, names[i].substr(kOurs.size())));
  return names;
}

}  // namespace

const ArchitectureTraits kTraits = {.architecture = Architecture::kNemotronH,
                                    .model_type = "nemotron_h",
                                    .class_name = "NemotronHForCausalLM",
                                    .mixers_of_layer = 1,
                                    .parse = parse_config,
                                    .embeddings = kEmbeddings,
                                    .final_norm = "backbone.norm_f.weight",
                                    .mixer_names = mixer_names,
                                    .canonical_name = canonical_name,
                                    .spellings = spellings};

}  // namespace hlwq::nemotron_h
