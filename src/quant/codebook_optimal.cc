#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quant/codebook_build.h"
#include "quant/gaussian.h"

namespace hlwq {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Moments {
  double mass;    // integral of the density
  double offset;  // integral of (x - at) * density
};

// Moments of a cell about a point inside it. A difference of erfc would leave an error of 1e-16 in
// a mass of 1e-3, which the nearly singular equations at 8 bits amplify 1e5 times; Gauss-Legendre
// with 8 nodes has no cancellation and is exact to rounding for cells no wider than 1.
Moments bounded_moments(double low, double high, double at) {
  constexpr std::array<double, 4> kNodes = {0.1834346424956498, 0.5255324099163290,
                                            0.7966664774136267, 0.9602898564975363};
  constexpr std::array<double, 4> kWeights = {0.3626837833783620, 0.3137066458778873,
                                              0.2223810344533745, 0.1012285362903763};
  const double middle = (low + high) / 2, half = (high - low) / 2;
  Moments m{0, 0};
  for (size_t i = 0; i < kNodes.size(); ++i) {
    for (const double x : {middle - half * kNodes[i], middle + half * kNodes[i]}) {
      const double w = half * kWeights[i] * normal_density(x);
      m.mass += w;
      m.offset += w * (x - at);
    }
  }
  return m;
}

Moments moments(double low, double high, double at) {
  if (std::isinf(high)) {
    const double mass = normal_mass(low, high);
    return {mass, normal_density(low) - at * mass};
  }
  return bounded_moments(low, high, at);
}

// The x with P(N(0,1) > x) = tail, 0 < tail <= 1/2.
double upper_quantile(double tail) {
  double low = 0, high = 40;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (normal_mass(middle, kInfinity) > tail ? low : high) = middle;
  }
  return (low + high) / 2;
}

// Newton's step on centroid(cell k) - c_k = 0 for the positive half, whose first cell starts at 0.
// Moving c_k moves its edges by half as much, so the Jacobian is tridiagonal. Returns the largest
// change. (On the integrals themselves, not divided by the mass, Newton diverges from 3 bits on.)
double newton_step(std::vector<double>* levels) {
  std::vector<double>& c = *levels;
  const size_t n = c.size();
  std::vector<double> below(n), diagonal(n), above(n), step(n);
  for (size_t k = 0; k < n; ++k) {
    const double low = k == 0 ? 0 : (c[k - 1] + c[k]) / 2;
    const double high = k + 1 == n ? kInfinity : (c[k] + c[k + 1]) / 2;
    const Moments m = moments(low, high, c[k]);
    const double residual = m.offset / m.mass, centroid = c[k] + residual;
    // d centroid / d high = (high - centroid) * density(high) / mass, and likewise for low.
    above[k] = k + 1 == n ? 0 : (high - centroid) * normal_density(high) / m.mass / 2;
    below[k] = k == 0 ? 0 : (centroid - low) * normal_density(low) / m.mass / 2;
    diagonal[k] = -1 + below[k] + above[k];
    step[k] = -residual;
  }
  // Elimination without pivoting: a centroid moves by at most as much as its two edges together
  // (the density is log-concave), so below + above <= 1/2 and the diagonal dominates.
  for (size_t k = 1; k < n; ++k) {
    const double factor = below[k] / diagonal[k - 1];
    diagonal[k] -= factor * above[k - 1];
    step[k] -= factor * step[k - 1];
  }
  double change = 0;
  for (size_t k = n; k-- > 0;) {
    if (k + 1 < n) step[k] -= above[k] * step[k + 1];
    step[k] /= diagonal[k];
    c[k] += step[k];
    change = std::max(change, std::abs(step[k]));
  }
  return change;
}

}  // namespace

std::vector<double> optimal_levels(int bits) {
  const int half = 1 << (bits - 1);
  // Start where high-resolution theory puts the levels: density proportional to the cube root of
  // the normal's, which is a normal sqrt(3) times as wide (Panter and Dite 1951).
  std::vector<double> positive;
  for (int k = 0; k < half; ++k)
    positive.push_back(std::sqrt(3.0) * upper_quantile(0.5 - (k + 0.5) / (2 * half)));
  // Five steps at every width; quadratic convergence makes the last change far below the bound.
  constexpr int kMostSteps = 20;
  for (int i = 0; i < kMostSteps; ++i)
    if (newton_step(&positive) < 1e-9) break;
  std::vector<double> levels;
  for (int k = half; k-- > 0;) levels.push_back(-positive[static_cast<size_t>(k)]);
  levels.insert(levels.end(), positive.begin(), positive.end());
  return levels;
}

}  // namespace hlwq
