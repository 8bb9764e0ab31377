#include "text/grammar/digit_ranges.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace hlwq {

std::vector<DigitRanges> split_digits(std::span<const uint8_t> first, std::span<const uint8_t> last,
                                      std::span<const uint8_t> greatest) {
  const size_t digits = first.size();
  HLWQ_CHECK(digits > 0 && last.size() == digits && greatest.size() == digits);
  HLWQ_CHECK(!std::lexicographical_compare(last.begin(), last.end(), first.begin(), first.end()));
  std::vector<DigitRanges> patterns;
  // `fixed` digits of `prefix`, then one range, then any digits.
  const auto add = [&](std::span<const uint8_t> prefix, size_t fixed, int low, int high) {
    if (low > high) return;
    DigitRanges pattern;
    for (size_t i = 0; i < fixed; ++i) pattern.push_back({prefix[i], prefix[i]});
    pattern.push_back({static_cast<uint8_t>(low), static_cast<uint8_t>(high)});
    for (size_t i = fixed + 1; i < digits; ++i) pattern.push_back({0, greatest[i]});
    patterns.push_back(std::move(pattern));
  };
  const auto parted = static_cast<size_t>(
      std::mismatch(first.begin(), first.end(), last.begin()).first - first.begin());
  if (parted + 1 >= digits) {
    add(first, digits - 1, first[digits - 1], last[digits - 1]);
    return patterns;
  }
  // From the end, the digits where `first` is least and `last` greatest need no pattern of their
  // own: the range one place further up takes them in.
  size_t low_end = digits;
  while (low_end > parted + 1 && first[low_end - 1] == 0) --low_end;
  size_t high_end = digits;
  while (high_end > parted + 1 && last[high_end - 1] == greatest[high_end - 1]) --high_end;
  for (size_t i = low_end; i-- > parted + 1;) {
    add(first, i, first[i] + (i + 1 == low_end ? 0 : 1), greatest[i]);
  }
  add(first, parted, first[parted] + (low_end == parted + 1 ? 0 : 1),
      last[parted] - (high_end == parted + 1 ? 0 : 1));
  for (size_t i = parted + 1; i < high_end; ++i) {
    add(last, i, 0, last[i] - (i + 1 == high_end ? 0 : 1));
  }
  return patterns;
}

}  // namespace hlwq
