#include "api/check_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "io/printable.h"

namespace hlwq {
namespace {

template <typename Number>
Status check_range(const OptionField& field, Number value) {
  if (!field.numbers.empty()) {
    const auto is_value = [&](int64_t number) { return static_cast<Number>(number) == value; };
    if (std::any_of(field.numbers.begin(), field.numbers.end(), is_value)) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--{}: got {}, wanted one of {}", field.name, value,
                            fmt::join(field.numbers, ", ")));
  }
  if (field.least == field.most) return {};
  const double number = static_cast<double>(value);
  if (number >= field.least && number <= field.most) return {};  // false for NaN
  return fail(ErrorCode::kInvalidArgument, fmt::format("--{}: got {}, wanted {} to {}", field.name,
                                                       value, field.least, field.most));
}

}  // namespace

Status check_field(const OptionField& field, const std::string& value) {
  if (field.choices.empty() ||
      std::find(field.choices.begin(), field.choices.end(), value) != field.choices.end())
    return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--{}: got '{}', wanted one of {}", field.name, printable(value),
                          fmt::join(field.choices, ", ")));
}

Status check_field(const OptionField& field, int64_t value) { return check_range(field, value); }
Status check_field(const OptionField& field, double value) { return check_range(field, value); }

}  // namespace hlwq
