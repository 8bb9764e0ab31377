#include "text/jinja/string_literal.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "base/utf8.h"

namespace hlwq::jinja {
namespace {

constexpr std::string_view kPlainEscapes = "\\'\"abfnrtv";
constexpr std::string_view kPlainMeanings = "\\'\"\a\b\f\n\r\t\v";

// The number that `digits` digits at the beginning of `text` write; none when they are fewer.
std::optional<uint32_t> leading_number(std::string_view text, size_t digits, int base) {
  if (text.size() < digits) return std::nullopt;
  uint32_t number = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + digits, number, base);
  if (code != std::errc() || stop != text.data() + digits) return std::nullopt;
  return number;
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

Status append_code_point(uint32_t c, std::string& out) {
  if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
    return fail(ErrorCode::kBadHeader, fmt::format("an escape of no character (U+{:04X})", c));
  append_utf8(c, out);
  return {};
}

}  // namespace

Result<std::string> unescape(std::string_view literal) {
  std::string meant;
  meant.reserve(literal.size());
  while (!literal.empty()) {
    if (literal.front() != '\\' || literal.size() == 1) {
      meant += literal.front();
      literal.remove_prefix(1);
      continue;
    }
    const char letter = literal[1];
    if (const size_t plain = kPlainEscapes.find(letter); plain != std::string_view::npos) {
      meant += kPlainMeanings[plain];
      literal.remove_prefix(2);
    } else if (letter == '\n') {  // the line goes on
      literal.remove_prefix(2);
    } else if (is_octal(letter)) {
      size_t digits = 1;
      while (digits < 3 && digits + 1 < literal.size() && is_octal(literal[digits + 1])) ++digits;
      HLWQ_TRY(append_code_point(*leading_number(literal.substr(1), digits, 8), meant));
      literal.remove_prefix(1 + digits);
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
      const std::optional<uint32_t> number = leading_number(literal.substr(2), digits, 16);
      if (!number)
        return fail(ErrorCode::kBadHeader,
                    fmt::format("a \\{} escape without its {} digits", letter, digits));
      HLWQ_TRY(append_code_point(*number, meant));
      literal.remove_prefix(2 + digits);
    } else if (letter == 'N') {
      return fail(ErrorCode::kBadHeader, "\\N escapes are not supported");
    } else {
      meant += '\\';
      literal.remove_prefix(1);
    }
  }
  return meant;
}

}  // namespace hlwq::jinja
