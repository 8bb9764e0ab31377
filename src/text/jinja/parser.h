#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "text/jinja/limits.h"
#include "text/jinja/syntax.h"

namespace hlwq::jinja {

// Errors: kBadHeader for what is not a template; kUnsupported, naming it, for a statement, filter
// or test that is not known; kInvalidArgument above the limits. Messages begin with `where` and
// the line.
[[nodiscard]] Result<std::unique_ptr<const Syntax>> parse_template(std::string_view source,
                                                                   std::string_view where,
                                                                   const Limits& limits);

}  // namespace hlwq::jinja
