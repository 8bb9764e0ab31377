#include "text/reply/json_pieces.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

namespace hlwq {
namespace {

constexpr std::string_view kJsonSpace = " \t\r\n";

size_t skip_space(std::string_view text, size_t at) {
  return std::min(text.find_first_not_of(kJsonSpace, at), text.size());
}

size_t end_of_string(std::string_view text, size_t at) {
  for (++at; text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return at + 1;
}

size_t end_of_value(std::string_view text, size_t at) {
  if (text[at] == '"') return end_of_string(text, at);
  if (text[at] != '{' && text[at] != '[')
    return std::min(text.find_first_of(",]} \t\r\n", at), text.size());
  int depth = 0;
  do {
    const char c = text[at];
    if (c == '"') {
      at = end_of_string(text, at);
      continue;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
  } while (depth > 0);
  return at;
}

// Past the white space and the one comma or colon that may stand at `at`.
size_t skip_separator(std::string_view text, size_t at) {
  at = skip_space(text, at);
  if (text[at] == ',' || text[at] == ':') at = skip_space(text, at + 1);
  return at;
}

}  // namespace

void append_json_escaped(std::string_view text, std::string& out) {
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
        else
          out += c;
    }
  }
}

std::optional<Json> parse_strict_json(std::string_view text, const JsonLimits& limits) {
  Result<Json> value = parse_json(text, "value", limits);
  if (!value || !Json::accept(text)) return std::nullopt;
  return std::move(*value);
}

std::vector<std::string_view> json_elements(std::string_view array) {
  std::vector<std::string_view> elements;
  size_t at = skip_space(array, skip_space(array, 0) + 1);
  while (array[at] != ']') {
    const size_t end = end_of_value(array, at);
    elements.push_back(array.substr(at, end - at));
    at = skip_separator(array, end);
  }
  return elements;
}

std::string_view json_member(std::string_view object, std::string_view key) {
  size_t at = skip_space(object, skip_space(object, 0) + 1);
  while (object[at] != '}') {
    const size_t key_end = end_of_string(object, at);
    const size_t begin = skip_separator(object, key_end);
    const size_t end = end_of_value(object, begin);
    if (Json::parse(object.substr(at, key_end - at)).get_ref<const std::string&>() == key)
      return object.substr(begin, end - begin);
    at = skip_separator(object, end);
  }
  return {};
}

}  // namespace hlwq
