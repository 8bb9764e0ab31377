#pragma once
// A table of numbers as colors.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "chart/frame.h"

namespace hlwq::chart {

struct HeatMap {
  Heading heading;
  std::string x, y, scale;  // names of columns, rows and values
  int64_t rows = 0, columns = 0;
  std::vector<double> values;  // [rows, columns], at least 0
};

inline constexpr int64_t kMostRows = 256, kMostColumns = 4096;

// Colors go from 0 to the largest value in steps. Errors: kBadValue for a table that is empty, too
// large or of another size than `values`, and for values that are negative or not finite.
[[nodiscard]] Result<Picture> draw_heat_map(const HeatMap& map);

}  // namespace hlwq::chart
