#include "chart/picture.h"

#include "base/utf8.h"

namespace hlwq::chart {

std::vector<double> dash_lengths(Dash dash) {
  switch (dash) {
    case Dash::kSolid:
      return {};
    case Dash::kDashed:
      return {7, 4};
    case Dash::kDotted:
      return {2, 3};
    case Dash::kDashDotted:
      return {8, 3, 2, 3};
    case Dash::kLongDashed:
      return {14, 4};
  }
  return {};
}

std::string shown_text(std::string_view text) {
  std::string valid, shown;
  append_replacing_invalid(text, valid);
  for (std::string_view rest = valid; !rest.empty();) {
    const Utf8Step step = step_utf8(rest);
    const uint32_t code = step.code_point;
    // C0 and C1 controls, what turns the direction of text around, and the two that XML forbids.
    const bool hidden = code < 0x20 || (code >= 0x7F && code <= 0x9F) ||
                        (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
                        (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF || code == 0xFFFE ||
                        code == 0xFFFF;
    if (hidden) {
      shown += ' ';
    } else {
      shown += rest.substr(0, static_cast<size_t>(step.bytes));
    }
    rest.remove_prefix(static_cast<size_t>(step.bytes));
  }
  return shown;
}

}  // namespace hlwq::chart
