#pragma once
// UTF-8 as Unicode's table 3-7 defines it. An invalid stretch is counted in maximal subparts: the
// longest prefix of a well-formed sequence, or else one byte. Each becomes one U+FFFD, which is
// what WHATWG decoders and Rust's from_utf8_lossy do.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hlwq {

inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";  // U+FFFD

struct Utf8Step {
  enum class Kind { kValid, kInvalid, kIncomplete };
  Kind kind = Kind::kInvalid;
  int bytes = 1;            // of the character, the maximal subpart, or the incomplete tail
  uint32_t code_point = 0;  // when kValid
};

// The first character of `text`, which must not be empty. kIncomplete: all of `text` is the
// beginning of a character.
[[nodiscard]] Utf8Step step_utf8(std::string_view text);

// The last character of well-formed, non-empty `text`.
[[nodiscard]] uint32_t last_code_point(std::string_view text);

// Well-formed: no overlong forms, surrogates or values past U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text);

// Appends `bytes` to `out` with every maximal invalid subpart, an incomplete tail included,
// replaced by U+FFFD.
void append_replacing_invalid(std::string_view bytes, std::string& out);

// `code_point` must be a Unicode scalar value.
void append_utf8(uint32_t code_point, std::string& out);

}  // namespace hlwq
