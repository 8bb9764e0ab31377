#pragma once
// Which keywords of JSON schemas are known, what form they must have and which types they are
// about.

#include <cstdint>
#include <optional>
#include <string_view>

#include "text/grammar/schema_document.h"

namespace hlwq {

// A set of JSON's types. A number may be an integer, so kNumber comes with kInteger.
using SchemaTypes = uint8_t;
inline constexpr SchemaTypes kNullType = 1;
inline constexpr SchemaTypes kBooleanType = 2;
inline constexpr SchemaTypes kIntegerType = 4;
inline constexpr SchemaTypes kNumberType = 8;
inline constexpr SchemaTypes kStringType = 16;
inline constexpr SchemaTypes kArrayType = 32;
inline constexpr SchemaTypes kObjectType = 64;
inline constexpr SchemaTypes kAllTypes = 127;

// Every keyword of a schema that is an object: known, and of the form it must have. Errors:
// kUnsupported, kInvalidArgument.
[[nodiscard]] Status check_keywords(SchemaDocument& document, SchemaPart schema);

// The types that a checked schema names; none when it names none.
[[nodiscard]] std::optional<SchemaTypes> named_types(const SchemaJson& schema);
// The types that its keywords are about.
[[nodiscard]] SchemaTypes implied_types(const SchemaJson& schema);
[[nodiscard]] SchemaTypes type_of_value(const SchemaJson& value);

// Whether a keyword says nothing about values.
[[nodiscard]] bool is_annotation(std::string_view keyword);

}  // namespace hlwq
