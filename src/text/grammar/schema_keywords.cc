#include "text/grammar/schema_keywords.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "io/printable.h"

namespace hlwq {
namespace {

enum class Form {
  kAny,
  kCount,  // a whole number, not negative
  kNumber,
  kBoolean,
  kString,
  kTypes,       // a type's name or a list of them
  kStringList,  // perhaps empty
  kValueList,   // not empty
  kSchema,      // an object or a boolean
  kSchemaList,  // not empty
  kSchemas,     // an object of schemas
  kSchemaOrList,
  kUnsupported,
};

struct Keyword {
  std::string_view name;
  Form form;
  SchemaTypes about = 0;
};

constexpr SchemaTypes kNumbers = kNumberType | kIntegerType;

constexpr Keyword kKeywords[] = {
    {"type", Form::kTypes},
    {"nullable", Form::kBoolean},
    {"enum", Form::kValueList},
    {"const", Form::kAny},
    {"properties", Form::kSchemas, kObjectType},
    {"required", Form::kStringList, kObjectType},
    {"additionalProperties", Form::kSchema, kObjectType},
    {"minProperties", Form::kCount, kObjectType},
    {"maxProperties", Form::kCount, kObjectType},
    {"items", Form::kSchemaOrList, kArrayType},
    {"prefixItems", Form::kSchemaList, kArrayType},
    {"additionalItems", Form::kSchema, kArrayType},
    {"minItems", Form::kCount, kArrayType},
    {"maxItems", Form::kCount, kArrayType},
    {"uniqueItems", Form::kBoolean, kArrayType},
    {"minLength", Form::kCount, kStringType},
    {"maxLength", Form::kCount, kStringType},
    {"pattern", Form::kString, kStringType},
    {"format", Form::kString},
    {"minimum", Form::kNumber, kNumbers},
    {"maximum", Form::kNumber, kNumbers},
    {"exclusiveMinimum", Form::kNumber, kNumbers},
    {"exclusiveMaximum", Form::kNumber, kNumbers},
    {"anyOf", Form::kSchemaList},
    {"oneOf", Form::kSchemaList},
    {"allOf", Form::kSchemaList},
    {"$ref", Form::kString},
    {"not", Form::kUnsupported},
    {"if", Form::kUnsupported},
    {"then", Form::kUnsupported},
    {"else", Form::kUnsupported},
    {"patternProperties", Form::kUnsupported},
    {"propertyNames", Form::kUnsupported},
    {"unevaluatedProperties", Form::kUnsupported},
    {"unevaluatedItems", Form::kUnsupported},
    {"dependencies", Form::kUnsupported},
    {"dependentRequired", Form::kUnsupported},
    {"dependentSchemas", Form::kUnsupported},
    {"contains", Form::kUnsupported},
    {"minContains", Form::kUnsupported},
    {"maxContains", Form::kUnsupported},
    {"multipleOf", Form::kUnsupported},
    {"$dynamicRef", Form::kUnsupported},
    {"$recursiveRef", Form::kUnsupported},
};

constexpr std::pair<std::string_view, SchemaTypes> kTypes[] = {
    {"null", kNullType},     {"boolean", kBooleanType}, {"integer", kIntegerType},
    {"number", kNumbers},    {"string", kStringType},   {"array", kArrayType},
    {"object", kObjectType},
};

const Keyword* find_keyword(std::string_view name) {
  for (const Keyword& keyword : kKeywords) {
    if (keyword.name == name) return &keyword;
  }
  return nullptr;
}

std::optional<SchemaTypes> type_named(const SchemaJson& name) {
  const auto* text = name.get_ptr<const std::string*>();
  if (text == nullptr) return std::nullopt;
  for (const auto& [known, types] : kTypes) {
    if (known == *text) return types;
  }
  return std::nullopt;
}

bool is_count(const SchemaJson& value) {
  if (value.is_number_integer()) return value.is_number_unsigned() || value.get<int64_t>() >= 0;
  // JSON Schema counts 3.0 as whole.
  return value.is_number_float() && value.get<double>() >= 0 &&
         value.get<double>() == std::floor(value.get<double>()) &&
         std::isfinite(value.get<double>());
}

bool is_schema(const SchemaJson& value) { return value.is_object() || value.is_boolean(); }

template <typename Test>
bool all_of(const SchemaJson& values, Test&& test) {
  for (const SchemaJson& value : values) {
    if (!test(value)) return false;
  }
  return true;
}

// What the form wants; empty when `value` has it.
std::string_view wanted(Form form, const SchemaJson& value) {
  const auto unless = [](bool holds, std::string_view what) { return holds ? "" : what; };
  const bool is_list = value.is_array() && !value.empty();
  switch (form) {
    case Form::kAny:
    case Form::kUnsupported:
      return {};
    case Form::kCount:
      return unless(is_count(value), "a whole number that is not negative");
    case Form::kNumber:
      return unless(value.is_number() && std::isfinite(value.get<double>()), "a number");
    case Form::kBoolean:
      return unless(value.is_boolean(), "true or false");
    case Form::kString:
      return unless(value.is_string(), "a string");
    case Form::kTypes:
      return unless(type_named(value) || (is_list && all_of(value, type_named)),
                    "the name of a type or a list of them");
    case Form::kStringList:
      return unless(
          value.is_array() && all_of(value, [](const SchemaJson& v) { return v.is_string(); }),
          "a list of strings");
    case Form::kValueList:
      return unless(is_list, "a list that is not empty");
    case Form::kSchema:
      return unless(is_schema(value), "a schema (an object, true or false)");
    case Form::kSchemaList:
      return unless(is_list && all_of(value, is_schema), "a list of schemas that is not empty");
    case Form::kSchemas:
      return unless(value.is_object() && all_of(value, is_schema), "an object of schemas");
    case Form::kSchemaOrList:
      return unless(is_schema(value) || (value.is_array() && all_of(value, is_schema)),
                    "a schema or a list of schemas");
  }
  return {};
}

}  // namespace

Status check_keywords(SchemaDocument& document, SchemaPart schema) {
  const auto* object = schema.json->get_ptr<const SchemaJson::object_t*>();
  for (const auto& [name, value] : *object) {
    const Keyword* keyword = find_keyword(name);
    if (keyword == nullptr) continue;
    const bool says_nothing = (name == "uniqueItems" && value == false) ||
                              (name == "unevaluatedProperties" && value == true) ||
                              (name == "unevaluatedItems" && value == true);
    if (says_nothing) continue;
    if (keyword->form == Form::kUnsupported || name == "uniqueItems") {
      return document.refuse(ErrorCode::kUnsupported, schema, name,
                             fmt::format("the keyword \"{}\" is not supported", name));
    }
    if (const std::string_view what = wanted(keyword->form, value); !what.empty()) {
      return document.refuse(
          ErrorCode::kInvalidArgument, schema, name,
          fmt::format(
              "must be {}, is {}", what,
              printable(value.dump(-1, ' ', false, SchemaJson::error_handler_t::replace), 60)));
    }
  }
  return {};
}

std::optional<SchemaTypes> named_types(const SchemaJson& schema) {
  const auto type = schema.find("type");
  if (type == schema.end()) return std::nullopt;
  SchemaTypes types = 0;
  if (type->is_array()) {
    for (const SchemaJson& name : *type) types |= type_named(name).value_or(0);
  } else {
    types = type_named(*type).value_or(0);
  }
  // OpenAPI 3.0
  const auto nullable = schema.find("nullable");
  if (nullable != schema.end() && *nullable == true) types |= kNullType;
  return types;
}

SchemaTypes implied_types(const SchemaJson& schema) {
  SchemaTypes types = 0;
  for (const auto& [name, value] : *schema.get_ptr<const SchemaJson::object_t*>()) {
    if (const Keyword* keyword = find_keyword(name)) types |= keyword->about;
  }
  return types;
}

SchemaTypes type_of_value(const SchemaJson& value) {
  if (value.is_null()) return kNullType;
  if (value.is_boolean()) return kBooleanType;
  if (value.is_number_integer()) return kIntegerType;
  if (value.is_number()) {
    const double number = value.get<double>();
    return number == std::floor(number) ? kIntegerType : kNumberType;
  }
  if (value.is_string()) return kStringType;
  return value.is_array() ? kArrayType : kObjectType;
}

bool is_annotation(std::string_view keyword) { return find_keyword(keyword) == nullptr; }

}  // namespace hlwq
