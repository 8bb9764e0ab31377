#pragma once
// Llama: LlamaForCausalLM, in transformers' names.

#include "model/architecture.h"

namespace hlwq::llama {

extern const ArchitectureTraits kTraits;

void parse_config(ConfigFields& fields, ModelConfig& config);

}  // namespace hlwq::llama
