#pragma once
// Tensors that do the same work in different layers and experts.

#include <string>
#include <string_view>

namespace hlwq {

// The name without numbers and what stands before a layer's: "mixer.experts.up_proj.weight".
[[nodiscard]] std::string kind_of(std::string_view name);

}  // namespace hlwq
