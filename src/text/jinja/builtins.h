#pragma once
// The filters, tests and global functions of Jinja, those of transformers included.

#include <string_view>

#include "text/jinja/arguments.h"

namespace hlwq::jinja {

// Null for a name that is none of these.
[[nodiscard]] Native find_filter(std::string_view name);
[[nodiscard]] NativeTest find_test(std::string_view name);
[[nodiscard]] Native find_global(std::string_view name);

// A global of Jinja's that this does not have.
[[nodiscard]] bool is_unsupported_global(std::string_view name);

}  // namespace hlwq::jinja
