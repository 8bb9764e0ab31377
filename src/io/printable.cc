#include "io/printable.h"

#include <fmt/format.h>

#include <cstdint>

#include "base/utf8.h"

namespace hlwq {

std::string printable(std::string_view text, size_t most_bytes) {
  std::string out;
  size_t used = 0;
  while (!text.empty()) {
    const Utf8Step character = step_utf8(text);
    const size_t bytes =
        character.kind == Utf8Step::Kind::kValid ? static_cast<size_t>(character.bytes) : 0;
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
