#pragma once
// What a result says of the checkpoint it was measured on.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/result.h"

namespace hlwq::cli {

struct CheckpointFacts {
  int64_t parameters = 0;             // elements of all tensors in the files
  std::optional<int64_t> file_bytes;  // of all weight files
  // Of the coded matrices, as InspectReport::coded_bits_per_weight; nothing when none is coded.
  std::optional<double> bits_per_weight;
  std::string quantization;  // polar_config.json's text; empty: none
  std::string label;         // of its series in a chart: that text without the width; empty: none
};

// Reads headers alone. Errors: as inspect_checkpoint.
[[nodiscard]] Result<CheckpointFacts> read_checkpoint_facts(const std::string& model);

// "HLWQ Q5: grid codebook, search norms" -> "grid codebook, search norms".
[[nodiscard]] std::string label_of(const std::string& quantization);

// parameters, file_bytes, bits_per_weight, quantization, label: what is not known is null.
[[nodiscard]] nlohmann::json to_json(const CheckpointFacts& facts);

}  // namespace hlwq::cli
