#pragma once
// What a call's parameter, written as bare text, means by the tool's schema.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hlwq {

// The JSON types a schema allows, one bit each.
struct ParameterTypes {
  enum Bit : uint8_t {
    kString = 1,
    kInteger = 2,
    kNumber = 4,
    kBoolean = 8,
    kObject = 16,
    kArray = 32,
    kNull = 64,
  };
  uint8_t bits = 0;  // 0: the schema does not say

  [[nodiscard]] bool only_string() const { return bits == kString; }
  [[nodiscard]] bool allows(Bit type) const { return (bits & type) != 0; }
};

// By "type", else the types of "const" and "enum" values, else the union over "anyOf" or "oneOf".
// Anything else, and any schema that is not one, does not say.
[[nodiscard]] ParameterTypes parameter_types(const nlohmann::ordered_json& parameters,
                                             std::string_view key);

// The JSON text of a value written as `text` (UTF-8, without its framing newlines):
//   types hold only string      the text as a string
//   types without string        the text when it is JSON, else as a string; True, False and None,
//   as
//                               Python and the templates write them, count as true, false and null
//   types with string, others   the text when it is JSON of one of the other types, else as a
//   string the schema does not say     the text when it is JSON but no string, else as a string
[[nodiscard]] std::string parameter_json(std::string_view text, ParameterTypes types);

}  // namespace hlwq
