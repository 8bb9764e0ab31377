#include "text/grammar/number_nodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "text/grammar/digit_ranges.h"

namespace hlwq {
namespace {

constexpr int64_t kMostWhole = 999'999'999'999'999'999;  // 18 digits
constexpr uint32_t kMostWholeDigits = 18;
constexpr uint32_t kMostFractionDigits = 17;
constexpr int64_t kMostExponent = 289;  // 18 digits of it are still finite as a double

using Digits = std::vector<uint8_t>;

GrammarNode digit(GrammarBuilder& builder, DigitRange range) {
  return builder.byte_range(static_cast<uint8_t>('0' + range.first),
                            static_cast<uint8_t>('0' + range.last));
}

GrammarNode any_digits(GrammarBuilder& builder, uint32_t least, uint32_t most) {
  return builder.repeat(digit(builder, {0, 9}), least, most);
}

Digits digits_of(int64_t value) {
  Digits digits;
  for (const char c : std::to_string(value)) digits.push_back(static_cast<uint8_t>(c - '0'));
  return digits;
}

// 0 <= first <= last <= kMostWhole, without leading zeros.
GrammarNode whole_node(GrammarBuilder& builder, int64_t first, int64_t last) {
  std::vector<GrammarNode> nodes;
  while (first <= last) {
    const Digits low = digits_of(first);
    const Digits nines(low.size(), 9);
    int64_t end = 0;  // the last number of as many digits
    for (size_t i = 0; i < low.size(); ++i) end = end * 10 + 9;
    end = std::min(end, last);
    for (const DigitRanges& pattern : split_digits(low, digits_of(end), nines)) {
      std::vector<GrammarNode> digits;
      for (const DigitRange range : pattern) digits.push_back(digit(builder, range));
      nodes.push_back(builder.sequence(digits));
    }
    first = end + 1;
  }
  return builder.alternatives(nodes);
}

// A bound without its sign.
struct Decimal {
  int64_t whole = 0;
  Digits fraction;  // without zeros at the end
  bool is_exclusive = false;
};

Result<Decimal> decimal_of(const NumberBound& bound) {
  const long double value = std::fabs(bound.value);
  Decimal decimal;
  decimal.is_exclusive = bound.is_exclusive;
  if (value > static_cast<long double>(kMostWhole)) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("a bound of {:g} on a number, at most {} digits before the point are "
                            "supported",
                            static_cast<double>(bound.value), kMostWholeDigits));
  }
  decimal.whole = static_cast<int64_t>(value);
  if (static_cast<long double>(decimal.whole) == value) return decimal;
  std::array<char, 512> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(),
                                     static_cast<double>(value), std::chars_format::fixed);
  const std::string_view shortest(text.data(), static_cast<size_t>(written.ptr - text.data()));
  const size_t point = shortest.find('.');
  if (written.ec != std::errc() || point == std::string_view::npos ||
      shortest.size() - point - 1 > kMostFractionDigits) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("a bound of {:g} on a number, at most {} digits after the point are "
                            "supported",
                            static_cast<double>(bound.value), kMostFractionDigits));
  }
  for (const char c : shortest.substr(point + 1)) {
    decimal.fraction.push_back(static_cast<uint8_t>(c - '0'));
  }
  return decimal;
}

// The fractions of one whole number: nothing, or a point and digits. They are compared as numbers
// of `digits_` digits, with more digits after these where that changes nothing.
class FractionNodes {
 public:
  FractionNodes(GrammarBuilder& builder, size_t digits) : builder_(builder), digits_(digits) {}

  // `low` to `high`; without `high`, to the next whole number.
  GrammarNode between(const Decimal* low, const Decimal* high) {
    const Digits first = padded(low);
    const Digits last = padded(high);
    const bool low_excluded = low != nullptr && low->is_exclusive;
    std::vector<GrammarNode> nodes;
    if (high != nullptr && first == last) {
      if (!low_excluded && !high->is_exclusive) nodes.push_back(number(exactly(first), zeros()));
      return builder_.alternatives(nodes);
    }
    nodes.push_back(low_excluded ? just_above(first) : number(exactly(first), any_more()));
    if (high != nullptr && !high->is_exclusive) nodes.push_back(number(exactly(last), zeros()));
    const Digits nines(digits_, 9);
    Digits after_first = first;
    Digits before_last = high != nullptr ? last : nines;
    const bool has_after = step(after_first, 1);
    const bool has_before = high == nullptr || step(before_last, -1);
    if (has_after && has_before && after_first <= before_last) {
      for (const DigitRanges& pattern : split_digits(after_first, before_last, nines)) {
        nodes.push_back(number(pattern, any_more()));
      }
    }
    return builder_.alternatives(nodes);
  }

 private:
  [[nodiscard]] Digits padded(const Decimal* bound) const {
    Digits digits = bound != nullptr ? bound->fraction : Digits();
    digits.resize(digits_, 0);
    return digits;
  }

  static DigitRanges exactly(const Digits& digits) {
    DigitRanges pattern;
    for (const uint8_t value : digits) pattern.push_back({value, value});
    return pattern;
  }

  // One more or less; false when there is none.
  static bool step(Digits& digits, int by) {
    const uint8_t over = by > 0 ? 9 : 0;
    for (size_t i = digits.size(); i-- > 0;) {
      if (digits[i] != over) {
        digits[i] = static_cast<uint8_t>(digits[i] + by);
        return true;
      }
      digits[i] = static_cast<uint8_t>(9 - over);
    }
    return false;
  }

  [[nodiscard]] uint32_t more_digits() const {
    return kMostFractionDigits - static_cast<uint32_t>(digits_);
  }
  GrammarNode any_more() { return any_digits(builder_, 0, more_digits()); }
  GrammarNode zeros() { return builder_.repeat(builder_.literal("0"), 0, more_digits()); }

  // The pattern's digits, of which zeros at the end may be left out, then `more`.
  GrammarNode number(const DigitRanges& pattern, GrammarNode more) {
    GrammarNode node = more;
    bool may_end = true;
    for (size_t i = pattern.size(); i-- > 0;) {
      may_end = may_end && pattern[i].first == 0;
      node = builder_.sequence({digit(builder_, pattern[i]), node});
      if (i == 0) node = builder_.sequence({builder_.literal("."), node});
      if (may_end) node = builder_.optional(node);
    }
    return node;
  }

  // All the digits, and then not only zeros.
  GrammarNode just_above(const Digits& digits) {
    if (more_digits() == 0) return builder_.never();
    std::vector<GrammarNode> nodes = {builder_.literal(".")};
    for (const uint8_t value : digits) nodes.push_back(digit(builder_, {value, value}));
    nodes.push_back(builder_.repeat(builder_.literal("0"), 0, more_digits() - 1));
    nodes.push_back(digit(builder_, {1, 9}));
    nodes.push_back(any_digits(builder_, 0, more_digits() - 1));
    return builder_.sequence(nodes);
  }

  GrammarBuilder& builder_;
  size_t digits_;
};

// Numbers without a sign from `low` to `high`, or without an upper bound.
GrammarNode magnitude_node(GrammarBuilder& builder, const Decimal& low, const Decimal* high) {
  size_t digits = std::max<size_t>(low.fraction.size(), 1);
  if (high != nullptr) digits = std::max(digits, high->fraction.size());
  FractionNodes fractions(builder, digits);
  const auto whole = [&](int64_t first, int64_t last) {
    return first > last ? builder.never() : whole_node(builder, first, last);
  };
  if (high != nullptr && high->whole < low.whole) return builder.never();
  if (high != nullptr && high->whole == low.whole) {
    const bool is_empty = high->fraction < low.fraction;
    return is_empty
               ? builder.never()
               : builder.sequence({whole(low.whole, low.whole), fractions.between(&low, high)});
  }
  const int64_t last = high != nullptr ? high->whole - 1 : kMostWhole;
  std::vector<GrammarNode> nodes = {
      builder.sequence({whole(low.whole, low.whole), fractions.between(&low, nullptr)}),
      builder.sequence({whole(low.whole + 1, last), fractions.between(nullptr, nullptr)})};
  if (high != nullptr) {
    nodes.push_back(
        builder.sequence({whole(high->whole, high->whole), fractions.between(nullptr, high)}));
  }
  return builder.alternatives(nodes);
}

GrammarNode free_number(GrammarBuilder& builder) {
  const GrammarNode positive_exponent =
      builder.alternatives({any_digits(builder, 1, 2), whole_node(builder, 100, kMostExponent)});
  const GrammarNode exponent = builder.sequence(
      {builder.one_of({"e", "E"}),
       builder.alternatives(
           {builder.sequence({builder.optional(builder.literal("+")), positive_exponent}),
            builder.sequence({builder.literal("-"), any_digits(builder, 1, 3)})})});
  return builder.sequence(
      {builder.optional(builder.literal("-")), whole_node(builder, 0, kMostWhole),
       builder.optional(
           builder.sequence({builder.literal("."), any_digits(builder, 1, kMostFractionDigits)})),
       builder.optional(exponent)});
}

}  // namespace

GrammarNode integer_node(GrammarBuilder& builder, const NumberRange& range) {
  constexpr auto kMost = static_cast<long double>(kMostWhole);
  long double low = -kMost;
  long double high = kMost;
  if (range.least) {
    const long double value = range.least->value;
    low = std::max(low, range.least->is_exclusive ? std::floor(value) + 1 : std::ceil(value));
  }
  if (range.most) {
    const long double value = range.most->value;
    high = std::min(high, range.most->is_exclusive ? std::ceil(value) - 1 : std::floor(value));
  }
  if (low > high) return builder.never();
  const auto first = static_cast<int64_t>(low);
  const auto last = static_cast<int64_t>(high);
  std::vector<GrammarNode> nodes;
  if (first < 0) {
    nodes.push_back(builder.sequence(
        {builder.literal("-"), whole_node(builder, std::max<int64_t>(1, -last), -first)}));
  }
  if (last >= 0) nodes.push_back(whole_node(builder, std::max<int64_t>(0, first), last));
  return builder.alternatives(nodes);
}

Result<GrammarNode> number_node(GrammarBuilder& builder, const NumberRange& range) {
  if (!range.least && !range.most) return free_number(builder);
  std::optional<Decimal> low;
  std::optional<Decimal> high;
  if (range.least) {
    HLWQ_TRY_ASSIGN(low, decimal_of(*range.least));
  }
  if (range.most) {
    HLWQ_TRY_ASSIGN(high, decimal_of(*range.most));
  }
  const bool low_is_negative = range.least && range.least->value < 0;
  const bool high_is_negative = range.most && range.most->value < 0;
  const Decimal zero;
  const Decimal above_zero{.whole = 0, .fraction = {}, .is_exclusive = true};
  std::vector<GrammarNode> nodes;
  if (!range.least || low_is_negative) {  // "-0" is left out: 0 is written without a sign
    nodes.push_back(builder.sequence(
        {builder.literal("-"),
         magnitude_node(builder, high_is_negative ? *high : above_zero, low ? &*low : nullptr)}));
  }
  if (!high_is_negative) {
    nodes.push_back(
        magnitude_node(builder, low && !low_is_negative ? *low : zero, high ? &*high : nullptr));
  }
  return builder.alternatives(nodes);
}

}  // namespace hlwq
