#pragma once
// The small Llama models of scripts/llama_reference.py, drawn again: their goldens are packed,
// their weights are not.

#include <string>

#include "tests/model/quantized_checkpoint.h"

namespace hlwq::test {

// With config.json and goldens.safetensors of "default", "llama3" or "linear".
[[nodiscard]] std::string llama_folder(const std::string& model);
// Every tensor that its configuration wants, F32, by the script's rule (weights_of).
[[nodiscard]] StoredTensors llama_tensors(const std::string& model);

}  // namespace hlwq::test
