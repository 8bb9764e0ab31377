#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/utf8.h"

namespace hlwq::jinja {
namespace {

constexpr uint32_t kSharpS = 0xDF;

bool starts_character(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) != 0x80; }

utf8proc_category_t category(uint32_t character) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(character));
}

std::string encoded(utf8proc_int32_t character) {
  std::string text;
  append_utf8(static_cast<uint32_t>(character), text);
  return text;
}

}  // namespace

size_t character_bytes(std::string_view text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && !starts_character(text[end])) ++end;
  return end - at;
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), starts_character));
}

size_t byte_of_character(std::string_view text, size_t number) {
  size_t at = 0;
  while (at < text.size() && number > 0) {
    at += character_bytes(text, at);
    --number;
  }
  return at;
}

bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool ends_line(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

bool is_printable(uint32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_upper(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LU; }
bool is_lower(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LL; }

bool is_alphabetic(uint32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}

bool is_decimal(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

std::string upper(uint32_t c) {
  if (c == kSharpS) return "SS";
  return encoded(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

std::string lower(uint32_t c) {
  return encoded(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

std::string title(uint32_t c) {
  if (c == kSharpS) return "Ss";
  return encoded(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}

}  // namespace hlwq::jinja
