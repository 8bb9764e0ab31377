#pragma once
// Pictures as pixels. Outlines are filled by stb_truetype's rasterizer, which takes any outline and
// gives exact coverage: no rasterizer of our own.

#include <cstdint>
#include <vector>

#include "chart/picture.h"

namespace hlwq::chart {

struct Pixels {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

// `scale` pixels a unit. The picture must not be wider or higher than 2000 pixels then.
[[nodiscard]] Pixels rasterize(const Picture& picture, double scale);

}  // namespace hlwq::chart
