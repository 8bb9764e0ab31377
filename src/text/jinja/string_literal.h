#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq::jinja {

// What the inside of a string literal means: Python's escapes undone, unknown ones left as they
// are. Errors: kBadHeader without a place, for an escape of no character.
[[nodiscard]] Result<std::string> unescape(std::string_view literal);

}  // namespace hlwq::jinja
