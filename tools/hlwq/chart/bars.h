#pragma once
// Horizontal bars in groups, each with its value beside it.

#include <string>
#include <vector>

#include "base/result.h"
#include "chart/frame.h"

namespace hlwq::chart {

struct Bar {
  std::string label;
  double value = 0;
  std::string value_text;
  Color color;
};

struct BarGroup {
  std::string label;
  std::vector<Bar> bars;
};

struct BarChart {
  Heading heading;
  std::string axis;
  std::vector<BarGroup> groups;
};

inline constexpr size_t kMostBars = 15;

// Errors: kBadValue for no bars or more than kMostBars, values that are negative, not finite or
// beyond 1e18.
[[nodiscard]] Result<Picture> draw_bars(const BarChart& chart);

}  // namespace hlwq::chart
