#pragma once
// Byte counts as people write them.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

// "7.6GB", "7.1GiB", "512MB", "8 GB", "1048576": decimal units are powers of 1000, binary of 1024.
// Errors: kInvalidArgument for anything else, negative values, or more than 2^63-1 bytes.
[[nodiscard]] Result<int64_t> parse_bytes(std::string_view text);

// "20.6 GB", three significant digits, decimal units.
[[nodiscard]] std::string format_bytes(int64_t bytes);

}  // namespace hlwq
