#include "io/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace hlwq {
namespace {

// Bytes of the well-formed UTF-8 sequence at the start of `text`; 0 when there is none.
// Source: the Unicode Standard, table 3-7.
size_t sequence_bytes(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (text.empty()) return 0;
  const uint8_t first = at(0);
  if (first < 0x80) return 1;
  size_t bytes = 0;
  uint8_t low = 0x80, high = 0xBF;  // what the second byte may be
  if (first >= 0xC2 && first <= 0xDF) {
    bytes = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    bytes = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    bytes = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  }
  if (bytes == 0 || text.size() < bytes || at(1) < low || at(1) > high) return 0;
  for (size_t i = 2; i < bytes; ++i)
    if (at(i) < 0x80 || at(i) > 0xBF) return 0;
  return bytes;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = sequence_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string printable(std::string_view text, size_t most_bytes) {
  std::string out;
  size_t used = 0;
  while (!text.empty()) {
    const size_t bytes = sequence_bytes(text);
    const size_t step = bytes == 0 ? 1 : bytes;
    if (used + step > most_bytes) return out + "...";
    const auto first = static_cast<uint8_t>(text[0]);
    // U+0080 to U+009F (C2 80 to C2 9F) are control characters too.
    const bool c1_control = bytes == 2 && first == 0xC2 && static_cast<uint8_t>(text[1]) < 0xA0;
    if (bytes == 0 || first < 0x20 || first == 0x7F || c1_control) {
      for (size_t i = 0; i < step; ++i)
        out += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[i]));
    } else {
      out += text.substr(0, bytes);
    }
    used += step;
    text.remove_prefix(step);
  }
  return out;
}

}  // namespace hlwq
