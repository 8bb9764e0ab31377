#pragma once
// GPT-2's byte table: every byte has a printable stand-in character, so that a vocabulary of byte
// strings can be written as text. Printable Latin-1 bytes stand for themselves; the other 68, in
// ascending order, are U+0100 and up (space is U+0120, newline U+010A).
// Source: Radford et al. 2019, encoder.py `bytes_to_unicode`.

#include <optional>
#include <string>
#include <string_view>

namespace hlwq {

// Each byte as its stand-in, in UTF-8.
[[nodiscard]] std::string to_stand_ins(std::string_view bytes);

// The bytes that well-formed `text` stands for; nullopt when a character is not a stand-in.
[[nodiscard]] std::optional<std::string> from_stand_ins(std::string_view text);

}  // namespace hlwq
