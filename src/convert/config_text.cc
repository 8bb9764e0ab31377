#include "convert/config_text.h"

#include <fmt/format.h>

#include <cctype>
#include <optional>

namespace hlwq {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

size_t skip_spaces(std::string_view text, size_t i) {
  while (i < text.size() && is_space(text[i])) ++i;
  return i;
}

// One past the closing quote of the string that starts at `i`.
size_t skip_string(std::string_view text, size_t i) {
  for (++i; i < text.size() && text[i] != '"'; ++i)
    if (text[i] == '\\') ++i;
  return i + 1;
}

// One past the value that starts at `i`: up to a comma or closing bracket of the enclosing object.
size_t skip_value(std::string_view text, size_t i) {
  int depth = 0;
  while (i < text.size()) {
    const char c = text[i];
    if (c == '"') {
      i = skip_string(text, i);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') {
      if (depth == 0) break;
      --depth;
    }
    if (c == ',' && depth == 0) break;
    ++i;
  }
  while (i > 0 && is_space(text[i - 1])) --i;
  return i;
}

struct Member {
  size_t begin, end;  // from the key's quote to one past the value
};

std::optional<Member> find_member(std::string_view text, size_t open, std::string_view key) {
  const std::string quoted = fmt::format("\"{}\"", key);
  size_t i = skip_spaces(text, open + 1);
  while (i < text.size() && text[i] == '"') {
    const size_t begin = i;
    const size_t key_end = skip_string(text, i);
    size_t colon = skip_spaces(text, key_end);
    const size_t value = skip_spaces(text, colon + 1);
    const size_t end = skip_value(text, value);
    if (text.substr(begin, key_end - begin) == quoted) return Member{begin, end};
    i = skip_spaces(text, end);
    if (i < text.size() && text[i] == ',') i = skip_spaces(text, i + 1);
  }
  return std::nullopt;
}

Result<size_t> find_open(std::string_view text) {
  const size_t open = skip_spaces(text, 0);
  if (open >= text.size() || text[open] != '{')
    return fail(ErrorCode::kBadHeader, "config text is not a JSON object");
  return open;
}

}  // namespace

Result<std::string> without_top_level_key(std::string_view text, std::string_view key) {
  HLWQ_TRY_ASSIGN(const size_t open, find_open(text));
  const std::optional<Member> member = find_member(text, open, key);
  if (!member) return std::string(text);
  // With the comma and spacing that follow it, or, for the last member, the comma before it.
  size_t begin = member->begin, end = skip_spaces(text, member->end);
  if (end < text.size() && text[end] == ',') {
    end = skip_spaces(text, end + 1);
  } else {
    end = member->end;
    while (begin > open + 1 && is_space(text[begin - 1])) --begin;
    if (begin > open + 1 && text[begin - 1] == ',') --begin;
  }
  return std::string(text.substr(0, begin)) + std::string(text.substr(end));
}

Result<std::string> with_top_level_key(std::string_view text, std::string_view key,
                                       std::string_view raw_value) {
  HLWQ_TRY_ASSIGN(const std::string rest, without_top_level_key(text, key));
  HLWQ_TRY_ASSIGN(const size_t open, find_open(rest));
  const size_t first = skip_spaces(rest, open + 1);
  const bool empty = first < rest.size() && rest[first] == '}';
  const std::string spacing = rest.substr(open + 1, first - open - 1);
  std::string out = rest.substr(0, open + 1);
  out += empty ? "" : spacing;
  out += fmt::format("\"{}\": {}", key, raw_value);
  if (!empty) out += "," + (spacing.empty() ? std::string(" ") : spacing);
  return out + rest.substr(first);
}

}  // namespace hlwq
