#pragma once
// JSON numbers within bounds, as grammar nodes. Numbers have at most 18 digits before the point and
// about 17 after it, so that all of them are finite doubles and all whole ones fit 64 bits.

#include <optional>

#include "text/grammar/grammar.h"

namespace hlwq {

struct NumberBound {
  long double value = 0;  // finite
  bool is_exclusive = false;
};
struct NumberRange {
  std::optional<NumberBound> least;
  std::optional<NumberBound> most;
};

// Whole numbers in the range, written without point or exponent; matches nothing when it holds
// none.
GrammarNode integer_node(GrammarBuilder& builder, const NumberRange& range);

// Numbers in the range; with a bound they are written without exponents. Matches nothing when the
// range is empty. Errors: kUnsupported for a bound of more than 18 digits before the point or 17
// after it.
Result<GrammarNode> number_node(GrammarBuilder& builder, const NumberRange& range);

}  // namespace hlwq
