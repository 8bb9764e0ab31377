#include "quant/gaussian.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "quant/codebook.h"

namespace hlwq {
namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLeastMass = 1e-30;
}  // namespace

double normal_density(double x) {
  if (std::isinf(x)) return 0;
  return std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi);
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

double normal_mass(double low, double high) {
  if (low >= 0)
    return 0.5 * (std::erfc(low / std::numbers::sqrt2) - std::erfc(high / std::numbers::sqrt2));
  if (high <= 0) return normal_mass(-high, -low);
  return normal_cdf(high) - normal_cdf(low);
}

std::vector<double> midpoint_edges(std::span<const double> levels) {
  std::vector<double> edges{-kInfinity};
  for (size_t k = 0; k + 1 < levels.size(); ++k) edges.push_back((levels[k] + levels[k + 1]) / 2);
  edges.push_back(kInfinity);
  return edges;
}

double gaussian_mse_of(std::span<const double> levels) {
  // E (x - c)^2 = E x^2 - 2 c E x + c^2 over the cells, with E x = density(low) - density(high).
  const std::vector<double> edges = midpoint_edges(levels);
  double mse = 1;
  for (size_t k = 0; k < levels.size(); ++k) {
    const double c = levels[k];
    mse += c * c * normal_mass(edges[k], edges[k + 1]) -
           2 * c * (normal_density(edges[k]) - normal_density(edges[k + 1]));
  }
  return mse;
}

double gaussian_mse(std::span<const float> levels) {
  return gaussian_mse_of(std::vector<double>(levels.begin(), levels.end()));
}

std::vector<double> log_cell_mass(std::span<const float> levels) {
  const std::vector<double> edges =
      midpoint_edges(std::vector<double>(levels.begin(), levels.end()));
  std::vector<double> logs;
  for (size_t k = 0; k < levels.size(); ++k)
    logs.push_back(std::log(std::max(normal_mass(edges[k], edges[k + 1]), kLeastMass)));
  return logs;
}

}  // namespace hlwq
