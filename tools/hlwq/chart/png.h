#pragma once

#include <string>

#include "base/result.h"
#include "chart/picture.h"

namespace hlwq::chart {

inline constexpr double kPngScale = 2;  // pixels a unit: sharp where screens are dense

// The picture as a PNG file. The same picture gives the same bytes. Errors: kOutOfMemory.
[[nodiscard]] Result<std::string> to_png(const Picture& picture);

}  // namespace hlwq::chart
