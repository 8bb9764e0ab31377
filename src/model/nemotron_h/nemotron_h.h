#pragma once
// Nemotron-H: NemotronHForCausalLM, in NVIDIA's names.

#include "model/architecture.h"

namespace hlwq::nemotron_h {

extern const ArchitectureTraits kTraits;

void parse_config(ConfigFields& fields, ModelConfig& config);

}  // namespace hlwq::nemotron_h
