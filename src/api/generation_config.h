#pragma once
// generation_config.json: how the model's makers sample from it, and where it stops.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "hlwq/options.h"

namespace hlwq {

struct GenerationConfig {
  SamplingOptions sampling;       // temperature 0 when do_sample is false
  std::vector<int32_t> stop_ids;  // eos_token_id, a number or a list
};

// Reads it from `folder`; a folder without the file gives an empty one. Keys used: do_sample,
// temperature, top_k, top_p, min_p, repetition_penalty, eos_token_id; null counts as absent.
// Errors: kBadHeader naming the key (wrong type or range), kIo.
[[nodiscard]] Result<GenerationConfig> read_generation_config(const std::string& folder);

}  // namespace hlwq
