#pragma once
// JSON text handled as text, so that numbers and the order of keys stay as they were written.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace hlwq {

// Appends `text` (UTF-8) as it stands inside a JSON string, without the quotes.
void append_json_escaped(std::string_view text, std::string& out);

// The value, when `text` is JSON to the letter (parse_json also takes NaN and Infinity) and within
// the limits.
[[nodiscard]] std::optional<Json> parse_strict_json(std::string_view text,
                                                    const JsonLimits& limits);

// The texts of an array's elements. `array` must have passed parse_strict_json.
[[nodiscard]] std::vector<std::string_view> json_elements(std::string_view array);

// The text of an object's member; empty when there is none. `object` must have passed
// parse_strict_json, so no key is there twice.
[[nodiscard]] std::string_view json_member(std::string_view object, std::string_view key);

}  // namespace hlwq
