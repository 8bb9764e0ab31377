#pragma once
// The normal distribution over intervals, for codebooks. All in double.

#include <span>
#include <vector>

namespace hlwq {

[[nodiscard]] double normal_density(double x);  // 0 at +-infinity
[[nodiscard]] double normal_cdf(double x);

// P(low < N(0,1) < high), without cancellation in either tail.
[[nodiscard]] double normal_mass(double low, double high);

// Cell edges of nearest-level quantization: -inf, midpoints of neighbours, +inf.
[[nodiscard]] std::vector<double> midpoint_edges(std::span<const double> levels);

[[nodiscard]] double gaussian_mse_of(std::span<const double> levels);

}  // namespace hlwq
