#pragma once
// A range of numbers as ranges of digits: UTF-8, \u escapes and integer bounds all need it.

#include <cstdint>
#include <span>
#include <vector>

namespace hlwq {

struct DigitRange {
  uint8_t first = 0;
  uint8_t last = 0;
};
using DigitRanges = std::vector<DigitRange>;  // one for each digit, the highest first

// The numbers `first` to `last`, both given by digits (highest first, as many in both), as the
// union of digit patterns: at most about twice as many as digits. `greatest`: the largest value of
// each digit.
[[nodiscard]] std::vector<DigitRanges> split_digits(std::span<const uint8_t> first,
                                                    std::span<const uint8_t> last,
                                                    std::span<const uint8_t> greatest);

}  // namespace hlwq
