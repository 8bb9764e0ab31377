#pragma once
// Characters of well-formed UTF-8, as Python's str sees them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hlwq::jinja {

// Bytes of the character that begins at `at`.
[[nodiscard]] size_t character_bytes(std::string_view text, size_t at);
[[nodiscard]] size_t count_characters(std::string_view text);
// Where the character of this number begins; the end of the text for its length.
[[nodiscard]] size_t byte_of_character(std::string_view text, size_t number);

// str.isspace
[[nodiscard]] bool is_space(uint32_t character);
// Of what str.splitlines ends a line at; "\r\n" is one end.
[[nodiscard]] bool ends_line(uint32_t character);
// Shown as itself by repr.
[[nodiscard]] bool is_printable(uint32_t character);
[[nodiscard]] bool is_upper(uint32_t character);
[[nodiscard]] bool is_lower(uint32_t character);
[[nodiscard]] bool is_alphabetic(uint32_t character);
[[nodiscard]] bool is_decimal(uint32_t character);

// Case mappings are of one character each: what Unicode maps to several stays (except U+00DF, whose
// upper case is "SS").
[[nodiscard]] std::string upper(uint32_t character);
[[nodiscard]] std::string lower(uint32_t character);
[[nodiscard]] std::string title(uint32_t character);

}  // namespace hlwq::jinja
