#pragma once
// Charts with two axes: points, lines, error bars and a legend.

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "chart/frame.h"

namespace hlwq::chart {

struct PlotPoint {
  double x = 0, y = 0;
  std::optional<double> low, high;  // of y
};

struct Series {
  std::string label;
  std::vector<PlotPoint> points;  // a line goes through them in this order
  Style style;
};

struct PlotAxis {
  std::string label;
  bool logarithmic = false;
  bool from_zero = false;  // of a linear one
};

struct Plot {
  Heading heading;
  PlotAxis x, y;
  std::vector<Series> series;
};

inline constexpr size_t kMostPoints = 20000;

// A low end of an error bar that a logarithmic axis cannot show ends at the axis. Errors:
// kBadValue for no points, more than kMostStyles series or kMostPoints points, values that are not
// finite, beyond 1e18, or not above 0 on a logarithmic axis; each names the series.
[[nodiscard]] Result<Picture> draw_plot(const Plot& plot);

}  // namespace hlwq::chart
