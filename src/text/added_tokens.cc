#include "text/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/check.h"
#include "base/utf8.h"

namespace hlwq {
namespace {

// Unicode's White_Space.
bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// Word characters of Unicode's regular expressions (UTS 18): Alphabetic, marks, decimal digits,
// connectors, joiners.
bool is_word(uint32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      // Joiners, and the symbols that are Alphabetic: circled, squared and negative letters.
      return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
             (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
             (c >= 0x1F170 && c <= 0x1F189);
  }
}

// Where the white space that `text` ends with begins.
size_t space_begin(std::string_view text) {
  while (!text.empty()) {
    const uint32_t last = last_code_point(text);
    if (!is_space(last)) break;
    text.remove_suffix(last < 0x80 ? 1 : last < 0x800 ? 2 : 3);
  }
  return text.size();
}

// Bytes of the white space that `text` begins with.
size_t space_bytes(std::string_view text) {
  size_t bytes = 0;
  while (bytes < text.size()) {
    const Utf8Step step = step_utf8(text.substr(bytes));
    if (!is_space(step.code_point)) break;
    bytes += static_cast<size_t>(step.bytes);
  }
  return bytes;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  const bool word_before = begin > 0 && is_word(last_code_point(text.substr(0, begin)));
  const bool word_after = end < text.size() && is_word(step_utf8(text.substr(end)).code_point);
  return !word_before && !word_after;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), ends_(1, -1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    HLWQ_CHECK(!content.empty());
    begins_[static_cast<uint8_t>(content.front())] = true;
    uint32_t node = 0;
    for (const char c : content) {
      const uint64_t edge = uint64_t{node} << 8 | static_cast<uint8_t>(c);
      if (const uint32_t* next = edges_.find(edge)) {
        node = *next;
        continue;
      }
      node = static_cast<uint32_t>(ends_.size());
      ends_.push_back(-1);
      edges_.set(edge, node);
    }
    HLWQ_CHECK(ends_[node] < 0);
    ends_[node] = static_cast<int32_t>(i);
  }
}

const AddedToken* AddedTokenMatcher::longest_at(std::string_view text) const {
  int32_t found = -1;
  uint32_t node = 0;
  for (const char c : text) {
    const uint32_t* next = edges_.find(uint64_t{node} << 8 | static_cast<uint8_t>(c));
    if (next == nullptr) break;
    node = *next;
    if (ends_[node] >= 0) found = ends_[node];
  }
  return found < 0 ? nullptr : &tokens_[static_cast<size_t>(found)];
}

void AddedTokenMatcher::split(std::string_view text, const Sink& sink,
                              std::span<const ByteRange> plain) const {
  size_t plain_begin = 0;
  for (size_t i = 0; i < text.size();) {
    while (!plain.empty() && plain.front().end <= i) plain = plain.subspan(1);
    if (!plain.empty() && plain.front().begin <= i) {
      i = plain.front().end;
      continue;
    }
    if (!begins_[static_cast<uint8_t>(text[i])]) {
      ++i;
      continue;
    }
    const size_t most = plain.empty() ? text.size() : plain.front().begin;
    const AddedToken* token = longest_at(text.substr(i, most - i));
    if (token == nullptr) {
      ++i;
      continue;
    }
    size_t begin = i;
    size_t end = i + token->content.size();
    i = end;
    if (token->single_word && !stands_alone(text, begin, end)) continue;
    if (token->lstrip) begin = std::max(space_begin(text.substr(0, begin)), plain_begin);
    if (token->rstrip) end += space_bytes(text.substr(end));
    if (plain_begin < begin) sink(text.substr(plain_begin, begin - plain_begin), nullptr);
    sink(text.substr(begin, end - begin), token);
    plain_begin = end;
  }
  if (plain_begin < text.size()) sink(text.substr(plain_begin), nullptr);
}

}  // namespace hlwq
