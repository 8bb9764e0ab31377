#include "option_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace hlwq::cli {

std::string value_kind(const OptionField& field, bool is_text) {
  if (!field.choices.empty()) return fmt::format("{}", fmt::join(field.choices, "|"));
  if (is_text) return "TEXT";
  if (field.least == field.most) return "NUMBER";
  return fmt::format("{}..{}", field.least, field.most);
}

}  // namespace hlwq::cli
