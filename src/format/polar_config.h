#pragma once
// polar_config.json, the side file of HLWQ checkpoints (docs/format.md#config).

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace hlwq {

// A row of "layers". Every key is optional.
struct PolarLayerRow {
  std::optional<int64_t> in_features, out_features;
  std::optional<int64_t> padded;  // "in_features_padded" or "in_f_padded"
  std::optional<int64_t> blocks;  // "n_blocks"
  std::optional<int> bits;
  std::optional<bool> packed, packed_q5;
  bool lsb = false;  // "packing": "lsb": a little-endian bit stream of any width
};

struct PolarConfig {
  std::string where;         // the path, for messages
  std::string format;        // "polar_engine_v4", "hlwq-q5", ...; "" when absent or unknown
  std::string quantization;  // informative text
  std::string base_model;
  std::optional<int> bits;
  std::vector<std::pair<std::string, int>> bit_assignment;  // longest substring first
  std::map<std::string, PolarLayerRow, std::less<>> layers;

  // The row of the first of these spellings that has one, else nothing.
  [[nodiscard]] const PolarLayerRow* row(std::initializer_list<std::string_view> keys) const;
  // Width that `bit_assignment`, `bits` or the format's name give a layer without a row of its own.
  [[nodiscard]] std::optional<int> bits_by_rule(std::string_view key) const;
};

// Parses the text of the file at `where`. An unknown format is logged and left to the tensors'
// evidence. Errors: kBadHeader for malformed JSON, fields of the wrong type or out of range;
// kUnsupported for block sizes other than 128 and for the pickled torchao kind.
[[nodiscard]] Result<PolarConfig> parse_polar_config(std::string_view text, std::string_view where);

}  // namespace hlwq
