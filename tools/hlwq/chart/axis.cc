#include "chart/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace hlwq::chart {
namespace {

// The smallest of 1, 2, 5 times a power of ten that is at least `wanted`.
double round_step(double wanted) {
  const double power = std::pow(10, std::floor(std::log10(wanted)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= wanted * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

}  // namespace

std::string number_text(double value) {
  const double size = std::abs(value);
  if (size != 0 && (size < 1e-4 || size >= 1e15)) return fmt::format("{:.3g}", value);
  if (size >= 1000 && value == std::round(value)) {
    std::string digits = fmt::format("{:.0f}", size);
    for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
    return (value < 0 ? "-" : "") + digits;
  }
  return fmt::format("{:.6g}", value);
}

double Axis::share(double value) const {
  if (!logarithmic) return (value - least) / (most - least);
  return std::log(value / least) / std::log(most / least);
}

Axis linear_axis(double least, double most, int ticks) {
  if (most - least <= 1e-9 * std::max(std::abs(most), std::abs(least))) {
    // One value: room around it, or from 0 to it.
    const double room = most == 0 ? 1 : std::abs(most) / 2;
    if (least != 0) least -= room;
    most += room;
  }
  const double step = round_step((most - least) / ticks);
  Axis axis{.logarithmic = false,
            .least = step * std::floor(least / step + 1e-9),
            .most = step * std::ceil(most / step - 1e-9),
            .ticks = {}};
  const auto count = std::lround((axis.most - axis.least) / step);
  for (long i = 0; i <= count; ++i) {
    // From whole steps, so that no rounding adds up: 0.3, not 0.30000000000000004.
    const double value = step * (std::round(axis.least / step) + static_cast<double>(i));
    axis.ticks.push_back({value, number_text(value)});
  }
  return axis;
}

Axis log_axis(double least, double most) {
  const auto decade = [](double value) { return std::floor(std::log10(value) + 1e-9); };
  const double decades = std::log10(most / least);
  const std::vector<double> factors = decades < 1 ? std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8, 9}
                                      : decades < 2.5 ? std::vector<double>{1, 2, 5}
                                                      : std::vector<double>{1};
  std::vector<double> marks;
  for (double power = decade(least) - 1; power <= decade(most) + 1; ++power)
    for (const double factor : factors) marks.push_back(factor * std::pow(10, power));
  // From the last mark at or below the least value to the first at or above the most.
  const auto above_least =
      std::upper_bound(marks.begin(), marks.end(), least * (1 + 1e-9)) - marks.begin();
  const auto first = static_cast<size_t>(std::max<ptrdiff_t>(above_least - 1, 0));
  auto last = static_cast<size_t>(std::lower_bound(marks.begin(), marks.end(), most * (1 - 1e-9)) -
                                  marks.begin());
  last = std::min(std::max(last, first + 1), marks.size() - 1);
  Axis axis{.logarithmic = true, .least = marks[first], .most = marks[last], .ticks = {}};
  const size_t every = (last - first) / 10 + 1;  // 30 decades do not get 30 labels
  for (size_t i = first; i <= last; i += every)
    axis.ticks.push_back({marks[i], number_text(marks[i])});
  return axis;
}

}  // namespace hlwq::chart
