#include "text/reply/parameter_types.h"

#include <optional>
#include <utility>

#include "text/reply/json_pieces.h"
#include "text/reply/tag_scan.h"

namespace hlwq {
namespace {

using Schema = nlohmann::ordered_json;

constexpr int kMostNesting = 8;                  // of anyOf in anyOf
constexpr JsonLimits kValueLimits{.depth = 63};  // an object around it stays within parse_json's 64

constexpr std::pair<std::string_view, ParameterTypes::Bit> kTypeNames[] = {
    {"string", ParameterTypes::kString}, {"integer", ParameterTypes::kInteger},
    {"number", ParameterTypes::kNumber}, {"boolean", ParameterTypes::kBoolean},
    {"object", ParameterTypes::kObject}, {"array", ParameterTypes::kArray},
    {"null", ParameterTypes::kNull},
};

uint8_t named_type(const Schema& name) {
  const auto* text = name.get_ptr<const std::string*>();
  if (text == nullptr) return 0;
  for (const auto& [type, bit] : kTypeNames)
    if (*text == type) return bit;
  return 0;
}

template <typename AnyJson>
ParameterTypes::Bit type_of(const AnyJson& value) {
  if (value.is_string()) return ParameterTypes::kString;
  if (value.is_number_integer()) return ParameterTypes::kInteger;
  if (value.is_number()) return ParameterTypes::kNumber;
  if (value.is_boolean()) return ParameterTypes::kBoolean;
  if (value.is_object()) return ParameterTypes::kObject;
  return value.is_array() ? ParameterTypes::kArray : ParameterTypes::kNull;
}

uint8_t types_of_schema(const Schema& schema, int nesting);

// The union over an array; 0 when one of its parts does not say.
template <typename TypeOf>
uint8_t union_over(const Schema& parts, TypeOf&& type_of_part) {
  uint8_t bits = 0;
  for (const Schema& part : parts) {
    const uint8_t part_bits = type_of_part(part);
    if (part_bits == 0) return 0;
    bits |= part_bits;
  }
  return bits;
}

uint8_t types_of_schema(const Schema& schema, int nesting) {
  if (!schema.is_object() || nesting > kMostNesting) return 0;
  if (const auto type = schema.find("type"); type != schema.end())
    return type->is_array() ? union_over(*type, named_type) : named_type(*type);
  if (const auto value = schema.find("const"); value != schema.end()) return type_of(*value);
  if (const auto values = schema.find("enum"); values != schema.end() && values->is_array())
    return union_over(*values, [](const Schema& value) -> uint8_t { return type_of(value); });
  for (const char* keyword : {"anyOf", "oneOf"}) {
    if (const auto branches = schema.find(keyword);
        branches != schema.end() && branches->is_array())
      return union_over(*branches,
                        [&](const Schema& branch) { return types_of_schema(branch, nesting + 1); });
  }
  return 0;
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kTagSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kTagSpace) - begin + 1);
}

// JSON for a word of Python that a schema with these types can mean.
std::string_view python_word(std::string_view text, ParameterTypes types) {
  if (types.allows(ParameterTypes::kBoolean) && text == "True") return "true";
  if (types.allows(ParameterTypes::kBoolean) && text == "False") return "false";
  if (types.bits != 0 && !types.allows(ParameterTypes::kString) && text == "None") return "null";
  return {};
}

bool means_json(const Json& value, ParameterTypes types) {
  if (types.bits == 0) return !value.is_string();
  if (!types.allows(ParameterTypes::kString)) return true;
  const ParameterTypes::Bit type = type_of(value);
  if (type == ParameterTypes::kInteger && types.allows(ParameterTypes::kNumber)) return true;
  return type != ParameterTypes::kString && types.allows(type);
}

}  // namespace

ParameterTypes parameter_types(const Schema& parameters, std::string_view key) {
  if (!parameters.is_object()) return {};
  const auto properties = parameters.find("properties");
  if (properties == parameters.end() || !properties->is_object()) return {};
  const auto property = properties->find(std::string(key));
  if (property == properties->end()) return {};
  return {types_of_schema(*property, 0)};
}

std::string parameter_json(std::string_view text, ParameterTypes types) {
  if (!types.only_string()) {
    const std::string_view bare = trim(text);
    if (const std::string_view word = python_word(bare, types); !word.empty())
      return std::string(word);
    if (const std::optional<Json> value = parse_strict_json(bare, kValueLimits);
        value && means_json(*value, types))
      return std::string(bare);
  }
  std::string json = "\"";
  append_json_escaped(text, json);
  json += '"';
  return json;
}

}  // namespace hlwq
