#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

// Unicode normalization form C of well-formed UTF-8, in O(n log n) also for long runs of combining
// marks. Errors: kOutOfMemory.
[[nodiscard]] Result<std::string> to_nfc(std::string_view text);

// True when every character is below U+0300, which makes the text NFC already. A quick test: false
// says nothing.
[[nodiscard]] bool is_surely_nfc(std::string_view text);

}  // namespace hlwq
