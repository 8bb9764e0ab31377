#pragma once
// Which tensors are coded (docs/format.md#which-tensors). By name and shape alone.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hlwq {

// True when a parameter stays as it is: fewer than 2 dimensions or 256 elements, norms, Mamba's
// A_log, D, dt_bias, conv1d, routers, biases; everything 2-D else (embeddings and head included)
// is coded. `keep_globs`: further names to keep, shell patterns (* ?) on the full name.
[[nodiscard]] bool keeps_precision(std::string_view name, std::span<const int64_t> shape,
                                   std::span<const std::string> keep_globs);

[[nodiscard]] bool glob_matches(std::string_view pattern, std::string_view text);

}  // namespace hlwq
