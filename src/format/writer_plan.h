#pragma once
// What a writer will put where, decided before the first byte: stored tensors, shards, side file.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/writer.h"
#include "io/safetensors.h"
#include "quant/packing.h"

namespace hlwq {

// A profile as data. Suffixes a profile lacks are "".
struct ProfileLayout {
  Profile profile;
  std::string_view name, format;
  bool keeps_weight;  // coded names keep ".weight" before the suffix
  std::string_view codes, norms, table, meta;
  Packing five_bits, other_widths;
};

[[nodiscard]] const ProfileLayout& layout_of(Profile profile);
[[nodiscard]] Packing packing_of(const ProfileLayout& layout, int bits);

// The stored tensors of one parameter, as indices into its shard's entries.
struct StoredParts {
  std::optional<size_t> plain, codes, norms, table, meta;
};

struct ShardPlan {
  size_t first = 0, last = 0;        // parameters [first, last)
  std::vector<TensorEntry> entries;  // in file order; offsets not yet assigned
  std::vector<StoredParts> parts;    // of each parameter
};

// Checks that the profile can hold the tensors and groups whole parameters into shards. Within a
// file, tensors of wide elements come first, so that every offset is aligned for its dtype, then in
// declaration order, codes and norms of a layer side by side.
// Errors: kInvalidArgument (shapes, names, a table that is missing), kUnsupported (a width or table
// the profile cannot hold); they name the tensor.
[[nodiscard]] Result<std::vector<ShardPlan>> plan_checkpoint(std::span<const OutputTensor> tensors,
                                                             const WriterOptions& options);

// The text of polar_config.json, the same for the same plan.
[[nodiscard]] std::string make_polar_config(std::span<const OutputTensor> tensors,
                                            const WriterOptions& options);

}  // namespace hlwq
