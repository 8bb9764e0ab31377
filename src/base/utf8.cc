#include "base/utf8.h"

#include <cstring>

#include "base/check.h"

namespace hlwq {
namespace {

uint8_t byte_at(std::string_view text, size_t index) { return static_cast<uint8_t>(text[index]); }

// Bytes before the first one that is not ASCII.
size_t ascii_prefix(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080ull) != 0) break;
  }
  while (i < text.size() && byte_at(text, i) < 0x80) ++i;
  return i;
}

// Bytes of the longest well-formed prefix.
size_t valid_prefix(std::string_view text) {
  size_t i = 0;
  while (true) {
    i += ascii_prefix(text.substr(i));
    while (i < text.size() && byte_at(text, i) >= 0x80) {
      const Utf8Step step = step_utf8(text.substr(i));
      if (step.kind != Utf8Step::Kind::kValid) return i;
      i += static_cast<size_t>(step.bytes);
    }
    if (i == text.size()) return i;
  }
}

}  // namespace

Utf8Step step_utf8(std::string_view text) {
  using Kind = Utf8Step::Kind;
  const uint8_t lead = byte_at(text, 0);
  if (lead < 0x80) return {Kind::kValid, 1, lead};
  if (lead < 0xC2 || lead > 0xF4) return {Kind::kInvalid, 1, 0};
  const int bytes = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t code_point = lead & (0x7Fu >> bytes);
  // The second byte's range also excludes overlong forms, surrogates and values past U+10FFFF.
  uint8_t low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (int i = 1; i < bytes; ++i) {
    if (static_cast<size_t>(i) == text.size()) return {Kind::kIncomplete, i, 0};
    const uint8_t next = byte_at(text, static_cast<size_t>(i));
    if (next < low || next > high) return {Kind::kInvalid, i, 0};
    code_point = (code_point << 6) | (next & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {Kind::kValid, bytes, code_point};
}

uint32_t last_code_point(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (byte_at(text, begin) & 0xC0) == 0x80) --begin;
  return step_utf8(text.substr(begin)).code_point;
}

bool is_utf8(std::string_view text) { return valid_prefix(text) == text.size(); }

void append_replacing_invalid(std::string_view bytes, std::string& out) {
  while (true) {
    const size_t valid = valid_prefix(bytes);
    out.append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty()) return;
    out.append(kReplacementUtf8);
    bytes.remove_prefix(static_cast<size_t>(step_utf8(bytes).bytes));
  }
}

void append_utf8(uint32_t code_point, std::string& out) {
  HLWQ_CHECK(code_point <= 0x10FFFF && (code_point < 0xD800 || code_point > 0xDFFF));
  const auto continuation = [&](int shift) {
    out.push_back(static_cast<char>(0x80 | ((code_point >> shift) & 0x3F)));
  };
  if (code_point < 0x80) {
    out.push_back(static_cast<char>(code_point));
  } else if (code_point < 0x800) {
    out.push_back(static_cast<char>(0xC0 | (code_point >> 6)));
    continuation(0);
  } else if (code_point < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | (code_point >> 12)));
    continuation(6);
    continuation(0);
  } else {
    out.push_back(static_cast<char>(0xF0 | (code_point >> 18)));
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

}  // namespace hlwq
