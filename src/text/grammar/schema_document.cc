#include "text/grammar/schema_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/utf8.h"
#include "io/printable.h"

namespace hlwq {
namespace {

// "%25" and the like in a URI fragment, then "~1" and "~0" of a JSON pointer.
std::optional<std::string> unescape_token(std::string_view token) {
  std::string text;
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] != '%') {
      text += token[i];
      continue;
    }
    uint8_t byte = 0;
    const std::string_view digits = token.substr(i + 1, 2);
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || read.ptr != digits.data() + 2) return std::nullopt;
    text += static_cast<char>(byte);
    i += 2;
  }
  std::string key;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '~') {
      key += text[i];
      continue;
    }
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (next != '0' && next != '1') return std::nullopt;
    key += next == '0' ? '~' : '/';
    ++i;
  }
  return key;
}

std::string escape_token(std::string_view key) {
  std::string text;
  for (const char c : key) {
    if (c == '~') {
      text += "~0";
    } else if (c == '/') {
      text += "~1";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

Result<SchemaDocument> SchemaDocument::read(const SchemaJson& root, std::string name,
                                            const SchemaLimits& limits) {
  SchemaDocument document(root, std::move(name));
  const auto exceeds = [&](std::string_view what, size_t most) {
    return document.refuse(ErrorCode::kUnsupported, document.root(), "",
                           fmt::format("more than {} {}", most, what));
  };
  const auto is_text = [](const std::string& text) { return is_utf8(text); };
  struct Open {
    const SchemaJson* json;
    int depth;
  };
  std::vector<Open> open{{&root, 1}};
  size_t values = 0;
  size_t text_bytes = 0;
  while (!open.empty()) {
    const Open next = open.back();
    open.pop_back();
    if (++values > limits.values) return exceeds("values", limits.values);
    if (next.depth > limits.depth) {
      return exceeds("levels of nesting", static_cast<size_t>(limits.depth));
    }
    bool is_valid = true;
    if (const auto* text = next.json->get_ptr<const std::string*>()) {
      text_bytes += text->size();
      is_valid = is_text(*text);
    } else if (const auto* object = next.json->get_ptr<const SchemaJson::object_t*>()) {
      for (const auto& [key, value] : *object) {
        text_bytes += key.size();
        is_valid = is_valid && is_text(key);
        open.push_back({&value, next.depth + 1});
      }
    } else if (next.json->is_array()) {
      for (const SchemaJson& value : *next.json) open.push_back({&value, next.depth + 1});
    } else if (next.json->is_binary() || next.json->is_discarded()) {
      is_valid = false;
    }
    if (open.size() > limits.values) return exceeds("values", limits.values);
    if (text_bytes > limits.text_bytes) return exceeds("bytes of text", limits.text_bytes);
    if (!is_valid) {
      return document.refuse(ErrorCode::kInvalidArgument, document.root(), "",
                             "holds text that is not UTF-8");
    }
  }
  return document;
}

uint32_t SchemaDocument::place(uint32_t parent, std::string_view key, size_t index) {
  places_.push_back({parent, key, index});
  return static_cast<uint32_t>(places_.size() - 1);
}

SchemaPart SchemaDocument::member(SchemaPart part, std::string_view key) {
  const auto* object = part.json->get_ptr<const SchemaJson::object_t*>();
  if (object == nullptr) return {};
  for (const auto& [name, value] : *object) {
    if (name == key) return {&value, place(part.place, name, 0)};
  }
  return {};
}

std::vector<SchemaPart> SchemaDocument::elements(SchemaPart array) {
  std::vector<SchemaPart> parts;
  for (const SchemaJson& value : *array.json) {
    parts.push_back({&value, place(array.place, {}, parts.size())});
  }
  return parts;
}

std::vector<SchemaDocument::Member> SchemaDocument::members(SchemaPart object) {
  std::vector<Member> parts;
  for (const auto& [key, value] : *object.json->get_ptr<const SchemaJson::object_t*>()) {
    parts.push_back({key, {&value, place(object.place, key, 0)}});
  }
  return parts;
}

Result<SchemaPart> SchemaDocument::resolve(SchemaPart at, std::string_view reference) {
  const auto refuse_reference = [&](ErrorCode code, std::string_view why) {
    return refuse(code, at, "$ref", fmt::format("\"{}\" {}", printable(reference), why));
  };
  if (reference != "#" && !reference.starts_with("#/")) {
    return refuse_reference(ErrorCode::kUnsupported, "is not a JSON pointer into this document");
  }
  SchemaPart part = root();
  std::string_view rest = reference.substr(1);
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const size_t end = std::min(rest.find('/'), rest.size());
    const std::optional<std::string> key = unescape_token(rest.substr(0, end));
    rest.remove_prefix(end);
    if (!key) return refuse_reference(ErrorCode::kInvalidArgument, "is no JSON pointer");
    SchemaPart next;
    if (part.json->is_array()) {
      size_t index = 0;
      const auto read = std::from_chars(key->data(), key->data() + key->size(), index);
      if (read.ec == std::errc() && read.ptr == key->data() + key->size() && !key->empty() &&
          index < part.json->size()) {
        next = {&(*part.json)[index], place(part.place, {}, index)};
      }
    } else {
      next = member(part, *key);
    }
    if (next.json == nullptr) {
      return refuse_reference(ErrorCode::kInvalidArgument, "leads to nothing");
    }
    part = next;
  }
  return part;
}

std::string SchemaDocument::pointer(uint32_t place) const {
  std::vector<uint32_t> path;
  for (; place != 0; place = places_[place].parent) path.push_back(place);
  std::string text = "#";
  for (auto at = path.rbegin(); at != path.rend(); ++at) {
    const Place& step = places_[*at];
    text += '/';
    text += step.key.data() != nullptr ? escape_token(step.key) : std::to_string(step.index);
  }
  return text;
}

tl::unexpected<Error> SchemaDocument::refuse(ErrorCode code, SchemaPart at,
                                             std::string_view keyword,
                                             std::string_view message) const {
  std::string where = pointer(at.place);
  if (!keyword.empty()) where += fmt::format("/{}", escape_token(keyword));
  return fail(code, fmt::format("{}: {}: {}", name_, printable(where, 400), message));
}

}  // namespace hlwq
