#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/byte_range.h"

namespace hlwq {

// Unicode normalization form C of well-formed UTF-8, in O(n log n) also for long runs of combining
// marks. Errors: kOutOfMemory.
[[nodiscard]] Result<std::string> to_nfc(std::string_view text);

struct NormalizedRanges {
  std::string text;
  std::vector<ByteRange> ranges;
};
// The same, with where in the result some ranges of `text` (sorted, apart from each other, at
// character boundaries) are. A character that is made of some in a range and some outside is in it,
// and so may be those that follow it up to the next ASCII character. Errors: kOutOfMemory.
[[nodiscard]] Result<NormalizedRanges> to_nfc(std::string_view text,
                                              std::span<const ByteRange> ranges);

// True when every character is below U+0300, which makes the text NFC already. A quick test: false
// says nothing.
[[nodiscard]] bool is_surely_nfc(std::string_view text);

}  // namespace hlwq
