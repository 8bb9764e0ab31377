#pragma once

#include <string_view>

namespace hlwq::jinja {

// Where `needle` first begins at or after `from`, or npos; in time linear in both, whatever they
// hold (std::string's search is not).
[[nodiscard]] size_t find_bytes(std::string_view text, std::string_view needle, size_t from);

// Where `needle` last begins such that it ends at or before `end`, or npos. Linear too.
[[nodiscard]] size_t find_last_bytes(std::string_view text, std::string_view needle, size_t end);

}  // namespace hlwq::jinja
