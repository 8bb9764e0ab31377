#pragma once
// Range checks of option structs, from their own field lists, so that flags, bindings and servers
// refuse the same values in the same words.

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "hlwq/options.h"

namespace hlwq {

// Nothing when `value` is one of the field's choices or in its range, else kInvalidArgument naming
// flag, value and what was wanted.
[[nodiscard]] Status check_field(const OptionField& field, const std::string& value);
[[nodiscard]] Status check_field(const OptionField& field, int64_t value);
[[nodiscard]] Status check_field(const OptionField& field, double value);

template <typename T>
[[nodiscard]] Status check_field(const OptionField& field, const std::optional<T>& value) {
  return value ? check_field(field, *value) : Status{};
}

// The first field out of range.
template <typename Options>
[[nodiscard]] Status check_options(const Options& options) {
  Status status;
  options.visit([&](const OptionField& field, const auto& value) {
    if (status) status = check_field(field, value);
  });
  return status;
}

}  // namespace hlwq
