#pragma once
// From values to places: linear and logarithmic scales with round ticks.

#include <string>
#include <vector>

namespace hlwq::chart {

struct Tick {
  double value = 0;
  std::string label;
};

struct Axis {
  bool logarithmic = false;
  double least = 0, most = 1;  // of the whole axis: the data's ends, widened to round values
  std::vector<Tick> ticks;     // ascending, inside [least, most]

  // Where `value` lies: 0 at `least`, 1 at `most`.
  [[nodiscard]] double share(double value) const;
};

// Around values in [least, most], both finite and below 1e18. Ticks are 1, 2 or 5 times a power of
// ten apart, about `ticks` of them.
[[nodiscard]] Axis linear_axis(double least, double most, int ticks = 6);
// The values must be above 1e-30. Ticks at powers of ten; on a short axis at 1, 2
// and 5 times those, or at each digit.
[[nodiscard]] Axis log_axis(double least, double most);

// "12,288", "0.05", "2e-9": as few digits as tell ticks apart.
[[nodiscard]] std::string number_text(double value);

}  // namespace hlwq::chart
