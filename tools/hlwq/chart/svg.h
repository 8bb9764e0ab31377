#pragma once

#include <string>

#include "chart/picture.h"

namespace hlwq::chart {

// The picture as SVG 1.1, its texts as text. The same picture gives the same bytes.
[[nodiscard]] std::string to_svg(const Picture& picture);

// Text between tags or in quotes: & < > " ' as entities. Wants what shown_text gives.
[[nodiscard]] std::string escape_xml(std::string_view text);

}  // namespace hlwq::chart
