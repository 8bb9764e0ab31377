#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hlwq::cli {

// "1,2 3\n4": numbers from 0 to 2^31-1 separated by commas or white space. `where` (a flag or a
// file) starts the message. Errors: kInvalidArgument for anything else, and when there is none.
[[nodiscard]] Result<std::vector<int32_t>> parse_ids(std::string_view text, std::string_view where);

}  // namespace hlwq::cli
