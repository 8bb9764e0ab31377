#include "quant/codebook.h"

#include <cmath>
#include <limits>
#include <mutex>

#include "base/check.h"
#include "quant/codebook_build.h"
#include "quant/gaussian.h"

namespace hlwq {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kPublishedSteps = 100;

// The published weight table (docs/format.md#codebooks): not converged above 3 bits. Every
// operation is in the published order, so the result agrees in every bit.
Levels wire_levels(int bits) {
  const int n = 1 << bits;
  std::vector<double> edges{-kInfinity}, levels(static_cast<size_t>(n));
  for (int i = 1; i < n; ++i) edges.push_back(-4.0 + 8.0 * i / n);
  edges.push_back(kInfinity);
  for (int step = 0; step < kPublishedSteps; ++step) {
    for (size_t k = 0; k < levels.size(); ++k) {
      const double low = edges[k], high = edges[k + 1];
      const double mass = normal_cdf(high) - normal_cdf(low);
      levels[k] =
          mass > 1e-10 ? (normal_density(low) - normal_density(high)) / mass : (low + high) / 2;
    }
    edges = midpoint_edges(levels);
  }
  return {levels.begin(), levels.end()};
}

// The published KV-cache table: outer edges stay at +-4 and the state is FP32.
Levels kv_levels(int bits) {
  const int n = 1 << bits;
  std::vector<float> edges;
  for (int i = 0; i <= n; ++i) edges.push_back(static_cast<float>(-4.0 + 8.0 * i / n));
  Levels levels(static_cast<size_t>(n));
  for (int step = 0; step < kPublishedSteps; ++step) {
    for (size_t k = 0; k < levels.size(); ++k) {
      const double low = edges[k], high = edges[k + 1];
      const double mass = normal_cdf(high) - normal_cdf(low);
      levels[k] = static_cast<float>(
          mass < 1e-12 ? (low + high) / 2 : (normal_density(low) - normal_density(high)) / mass);
    }
    for (size_t k = 1; k < levels.size(); ++k) edges[k] = (levels[k - 1] + levels[k]) / 2.0f;
  }
  return levels;
}

Levels build(CodebookKind kind, int bits) {
  switch (kind) {
    case CodebookKind::kWire:
      return wire_levels(bits);
    case CodebookKind::kKv:
      return kv_levels(bits);
    case CodebookKind::kOptimal: {
      const std::vector<double> levels = optimal_levels(bits);
      return {levels.begin(), levels.end()};
    }
    case CodebookKind::kGrid:
      break;
  }
  return grid_levels(bits);
}

}  // namespace

const Levels& codebook(CodebookKind kind, int bits) {
  HLWQ_CHECK(bits >= kMinBits && bits <= kMaxBits);
  constexpr size_t kKinds = 4, kWidths = kMaxBits - kMinBits + 1;
  static std::array<std::array<Levels, kWidths>, kKinds> tables;
  static std::array<std::array<std::once_flag, kWidths>, kKinds> built;
  const auto i = static_cast<size_t>(kind), j = static_cast<size_t>(bits - kMinBits);
  std::call_once(built[i][j], [&] { tables[i][j] = build(kind, bits); });
  return tables[i][j];
}

}  // namespace hlwq
