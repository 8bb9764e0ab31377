#pragma once
// JSON from outside, with limits, and the quirks of Hugging Face files.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // keys in the order of the text

struct JsonLimits {
  uint64_t bytes = 64u << 20;
  int depth = 64;
};

// Strict JSON in UTF-8 plus, as Python writes them, bare Infinity, -Infinity and NaN; these and the
// form {"__float__": "Infinity"} become doubles. Duplicate keys, a byte order mark, trailing
// text, lone surrogates and deeper nesting than the limit are errors.
// Errors: kBadHeader; the message starts with `where` (a path) and gives line or byte.
[[nodiscard]] Result<Json> parse_json(std::string_view text, std::string_view where,
                                      const JsonLimits& limits = {});

// The same with the order of keys kept.
[[nodiscard]] Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view where,
                                                     const JsonLimits& limits = {});

[[nodiscard]] Result<Json> read_json_file(const std::string& path, const JsonLimits& limits = {});

}  // namespace hlwq
