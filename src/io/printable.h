#pragma once
// Text from outside, made fit for a message: names in files can hold anything.

#include <cstddef>
#include <string>
#include <string_view>

namespace hlwq {

// `text` on one line: control characters and bytes that are not UTF-8 become \xNN, and what exceeds
// `most_bytes` (of the input) becomes "...".
[[nodiscard]] std::string printable(std::string_view text, size_t most_bytes = 160);

}  // namespace hlwq
