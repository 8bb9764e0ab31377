#pragma once
// What differs between the architectures this engine runs: how config.json is read and what files
// call the parameters. Everything else is a residual stream of mixers (layers/), which they share.
// Another one is a value of Architecture, a folder like nemotron_h/ or llama/ with its traits, a
// line in architecture.cc, and whatever mixers it has and no other has.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/config_fields.h"

namespace hlwq {

// Of one mixer: its norm, and what its own parameters' names begin with, ending in '.'.
struct MixerNames {
  std::string norm, prefix;
};

// Names are canonical: those of the architecture's reference release, which we write.
struct ArchitectureTraits {
  Architecture architecture;
  std::string_view model_type, class_name;  // in config.json: model_type, architectures
  int64_t mixers_of_layer;                  // in what config.json calls a layer
  void (*parse)(ConfigFields& fields, ModelConfig& config);
  std::string_view embeddings, final_norm;
  MixerNames (*mixer_names)(int64_t mixer);  // counted through the model
  // A file's spelling in the canonical one; what is not known stays.
  std::string (*canonical_name)(std::string_view name);
  // Every spelling of a canonical name, that itself first.
  std::vector<std::string> (*spellings)(std::string_view name);
};

// What the parsers of all architectures read, with the architecture's own defaults: vocabulary,
// widths of the stream, positions, tied head, special tokens.
struct CommonDefaults {
  int64_t vocabulary, hidden, positions;
};
void read_common_keys(ConfigFields& fields, const CommonDefaults& defaults, ModelConfig& config);

[[nodiscard]] const ArchitectureTraits& traits_of(Architecture architecture);
[[nodiscard]] std::span<const ArchitectureTraits* const> architectures();

}  // namespace hlwq
