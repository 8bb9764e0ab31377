#pragma once
// Python's operators on values. All take time linear in what they look at, and count it.

#include <optional>

#include "text/jinja/runtime.h"

namespace hlwq::jinja {

enum class Operator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

[[nodiscard]] bool truth(const Value& value);
[[nodiscard]] Result<bool> equal(Runtime& runtime, const Value& left, const Value& right);
// Errors: types without that order.
[[nodiscard]] Result<bool> less(Runtime& runtime, const Value& left, const Value& right);
[[nodiscard]] Result<bool> contains(Runtime& runtime, const Value& container, const Value& item);
// Of the comparing operators, kIn and kNotIn included.
[[nodiscard]] Result<bool> compare(Runtime& runtime, Operator operation, const Value& left,
                                   const Value& right);
// Of the others.
[[nodiscard]] Result<Value> calculate(Runtime& runtime, Operator operation, const Value& left,
                                      const Value& right);
[[nodiscard]] Result<Value> negate(Runtime& runtime, const Value& value);

// The position of a key in a dict. Errors: a key that Python cannot hash.
[[nodiscard]] Result<std::optional<size_t>> find_key(Runtime& runtime, const Dict& dict,
                                                     const Value& key);
// Errors: values without a length.
[[nodiscard]] Result<int64_t> length(Runtime& runtime, const Value& value);
// What a loop over `value` goes through: characters of a text, keys of a dict. Uses an iterator up.
// Errors: not iterable.
[[nodiscard]] Result<SequencePtr> iterate(Runtime& runtime, const Value& value);
[[nodiscard]] bool is_iterable(const Value& value);

}  // namespace hlwq::jinja
