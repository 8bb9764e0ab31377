#pragma once
// One coded matrix of any wire variant, understood once, in one form.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "format/naming.h"
#include "format/polar_config.h"
#include "io/shards.h"

namespace hlwq {

// What the file holds for one layer; the tensors may lie in different shards.
struct LayerParts {
  const NamingRule* rule = nullptr;
  std::string key;  // the code tensor's name without the rule's suffix
  ShardTensor codes, norms;
  std::optional<ShardTensor> table, scaled_table, meta, input_scales, residual_signs;
};

struct CodedLayer {
  const NamingRule* rule = nullptr;
  bool dotted_key = false;     // the stored key holds dots
  std::string name;            // the parameter's
  std::vector<int64_t> shape;  // [rows, cols]; of flat ones what is known of it
  CodedInfo info;
  bool slice = false;   // one expert of a fused tensor (F8)
  bool scaled = false;  // the file's table is divided by sqrt(128)
  bool eoq = false;     // codes of the flattened tensor (F9), whether or not they cross rows
  Levels levels;        // the table in force
  std::vector<float> input_scales;  // [cols], F9: decoded columns are divided by them; else empty
  ShardTensor codes, norms;
  uint64_t stored_bytes = 0;
};

struct LayerContext {
  const ShardSet& shards;
  const PolarConfig& config;
  const ParameterNames& names;
  std::optional<int> folder_bits;  // "PQ5" -> 5
};

// Finds the parts that belong to a code tensor named `name`. Errors: kMissing without norms.
[[nodiscard]] Result<LayerParts> collect_parts(const ShardSet& shards, const ShardTensor& codes,
                                               const CodeName& name);

// Shape, width, packing and table of a layer from all the evidence there is (docs/format.md
// #reading). Reads tables, meta tensors and, to tell 5-bit streams apart, a sample of codes.
// Errors: kBadLayout when two pieces of evidence contradict each other or do not suffice, kBadValue
// for tables that are none, kUnsupported for widths and block sizes outside the format; all name
// the layer.
[[nodiscard]] Result<CodedLayer> resolve_layer(const LayerParts& parts,
                                               const LayerContext& context);

}  // namespace hlwq
