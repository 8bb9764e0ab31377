#pragma once
// The parameters a checkpoint must have, in the architecture's canonical spelling (architecture.h),
// and the other spellings that files use (docs/format.md#names).

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/checkpoint.h"
#include "model/config.h"

namespace hlwq {

// Every parameter and persistent buffer, in the order files have layers; one entry an
// expert matrix. The head is absent when tied.
[[nodiscard]] std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config);

// A file's spelling in the canonical one, without "language_model." in front. Fused experts keep
// their name ("backbone.layers.1.mixer.experts.up_proj").
[[nodiscard]] std::string canonical_name(Architecture architecture, std::string_view name);

// Tensors a loader skips without a word: mtp.*, *.k_scale, *.v_scale, *rotary_emb*, inv_freq.
[[nodiscard]] bool is_ignored(std::string_view name);

// Where each expected tensor is in a checkpoint. `slice` >= 0: row of the fused 3-D tensor.
struct LocatedTensor {
  const ExpectedTensor* expected = nullptr;
  const CheckpointTensor* stored = nullptr;
  int64_t slice = -1;
};
struct TensorMap {
  std::vector<LocatedTensor> found;  // one for each expected tensor that is there, in order
  std::vector<std::string> missing;  // expected and absent
  std::vector<std::string> unknown;  // in the file, not expected, not ignored
};
// Errors: kBadLayout for a shape that differs from the expected one (names both).
[[nodiscard]] Result<TensorMap> map_tensors(const Checkpoint& checkpoint, Architecture architecture,
                                            std::span<const ExpectedTensor> expected);

// The `expected` list to open a checkpoint with: every spelling of every name, so that dunder and
// shapeless variants find theirs.
[[nodiscard]] std::vector<ExpectedTensor> all_spellings(Architecture architecture,
                                                        std::span<const ExpectedTensor> expected);

}  // namespace hlwq
