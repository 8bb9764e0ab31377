#pragma once
// Names of one expert's matrix among those of fused tensors.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hlwq {

// The fused 3-D tensor ("backbone.layers.1.mixer.experts.up_proj") and the index of the expert when
// `name` is one expert's matrix, else nothing.
struct FusedSlice {
  std::string name;
  int64_t expert;
};
[[nodiscard]] std::optional<FusedSlice> fused_slice_of(std::string_view name);

// One expert's slice of a fused tensor that a quantizer cut up (docs/format.md#variants, F8):
// "...mixer.experts.up_proj_e3" is "...mixer.experts.3.up_proj.weight". Nothing for other names.
[[nodiscard]] std::optional<std::string> expert_of_sliced_name(std::string_view name);

}  // namespace hlwq
