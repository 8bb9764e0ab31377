#pragma once
// Edits of one top-level key in the text of a JSON object, so that everything else in a config.json
// (order, spacing, a bare Infinity) stays byte for byte what the model's maker wrote.

#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

// The object with `"key": value` first, replacing an existing top-level `key`. `text` must be valid
// (parse_json accepted it) and an object. Errors: kBadHeader when it is no object.
[[nodiscard]] Result<std::string> with_top_level_key(std::string_view text, std::string_view key,
                                                     std::string_view raw_value);

// The object without a top-level `key`; unchanged when there is none.
[[nodiscard]] Result<std::string> without_top_level_key(std::string_view text,
                                                        std::string_view key);

}  // namespace hlwq
