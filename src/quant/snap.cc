// Tables from files onto the integer grid of the kernels.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "quant/codebook.h"
#include "quant/codebook_build.h"
#include "quant/gaussian.h"

namespace hlwq {
namespace {

constexpr double kMostLossDb = 0.1;
// Relative error that marks a table as being on a grid: a file may carry levels divided by
// sqrt(128) in FP32, two roundings and a rounded factor.
constexpr double kFloatTolerance = 4e-7;

// Far outside what codes N(0,1), and far inside what the grid's arithmetic can hold.
constexpr double kLeastTop = 0x1p-20, kMostTop = 0x1p20;

struct Range {
  int low, high;
};
constexpr Range kByte{-128, 127}, kWord{-32768, 32767};

// Levels in double with the share of a normal that each one codes.
struct WeightedLevels {
  std::vector<double> level, mass;
  double mse;
  bool antisymmetric;
};

Result<WeightedLevels> check_levels(std::span<const float> levels) {
  if (levels.size() < 4 || levels.size() > 256 || (levels.size() & (levels.size() - 1)) != 0)
    return fail(ErrorCode::kBadValue,
                fmt::format("codebook has {} levels, wanted 4, 8, ... 256", levels.size()));
  WeightedLevels w;
  w.antisymmetric = true;
  for (size_t k = 0; k < levels.size(); ++k) {
    if (!std::isfinite(levels[k]))
      return fail(ErrorCode::kBadValue, fmt::format("codebook level {} is {}", k, levels[k]));
    if (k > 0 && !(levels[k - 1] < levels[k]))
      return fail(
          ErrorCode::kBadValue,
          fmt::format("codebook levels must ascend strictly: level {} is {}, level {} is {}", k - 1,
                      levels[k - 1], k, levels[k]));
    w.level.push_back(levels[k]);
    w.antisymmetric = w.antisymmetric && levels[k] == -levels[levels.size() - 1 - k];
  }
  const double top = std::max(-w.level.front(), w.level.back());
  if (!(top >= kLeastTop && top <= kMostTop))
    return fail(ErrorCode::kBadValue,
                fmt::format("codebook of largest level {} is not one for N(0,1)", top));
  for (const double log_mass : log_cell_mass(levels)) w.mass.push_back(std::exp(log_mass));
  w.mse = gaussian_mse_of(w.level);
  return w;
}

// Nearest grid value. Negative levels mirror positive ones (one's complement), ties included.
int nearest_value(double level, double step, Range range) {
  const double away = std::nearbyint(std::abs(level) / step - 0.5);
  const int v = static_cast<int>(std::min(std::max(away, 0.0), static_cast<double>(range.high)));
  return level < 0 ? -v - 1 : v;
}

LevelGrid grid_at(const WeightedLevels& w, float step, Range range) {
  LevelGrid grid;
  const auto n = static_cast<int>(w.level.size());
  while (1 << grid.bits < n) ++grid.bits;
  grid.step = step;
  grid.wide = range.high > kByte.high;
  grid.symmetric = true;
  for (size_t k = 0; k < w.level.size(); ++k)
    grid.v[k] = static_cast<int16_t>(nearest_value(w.level[k], step, range));
  for (int k = 0; k < n / 2; ++k) {
    const int upper = grid.v[static_cast<size_t>(n - 1 - k)];
    grid.symmetric = grid.symmetric && upper == -grid.v[static_cast<size_t>(k)] - 1 && upper >= 0 &&
                     upper <= 127;
  }
  return grid;
}

// Mean squared change of the decoded value when levels become (v + 1/2) * step.
double added_error(const WeightedLevels& w, const LevelGrid& grid) {
  double error = 0;
  for (size_t k = 0; k < w.level.size(); ++k) {
    const double change = w.level[k] - (grid.v[k] + 0.5) * static_cast<double>(grid.step);
    error += w.mass[k] * change * change;
  }
  return error;
}

double loss_db(const WeightedLevels& w, const LevelGrid& grid) {
  return 10 * std::log10(1 + added_error(w, grid) / w.mse);
}

// The grid a table is on, up to float rounding; the one of longest step when there are several.
std::optional<LevelGrid> exact_grid(const WeightedLevels& w) {
  const double innermost =
      *std::ranges::min_element(w.level, {}, [](double c) { return std::abs(c); });
  if (innermost == 0) return std::nullopt;  // the grid has no zero
  for (int v = 0; v <= kByte.high; ++v) {
    const float step = round_to_16_bits(std::abs(innermost) / (v + 0.5));
    if (!(step >= std::numeric_limits<float>::min())) break;
    const bool on_grid = std::ranges::all_of(w.level, [&](double c) {
      const double snapped = (nearest_value(c, step, kByte) + 0.5) * static_cast<double>(step);
      return std::abs(c - snapped) <= kFloatTolerance * std::abs(c);
    });
    if (on_grid) return grid_at(w, step, kByte);
  }
  return std::nullopt;
}

// The int8 grid of least added error: a scan over steps, each with its nearest values, then the
// least-squares step for the best values.
LevelGrid nearest_grid(const WeightedLevels& w) {
  const double top = std::max(-w.level.front(), w.level.back());
  // From a step that clips the outermost level a little to one that uses half the range, by 0.05 %:
  // fine against 1/127, the change that moves the outermost value by one.
  constexpr int kSteps = 1800;
  constexpr double kShortest = 0.85, kRatio = 1.0005;
  double best_error = std::numeric_limits<double>::infinity(), best_step = top / 127.5;
  double step = kShortest * best_step;
  for (int i = 0; i < kSteps; ++i, step *= kRatio) {
    double error = 0;
    for (size_t k = w.antisymmetric ? w.level.size() / 2 : 0; k < w.level.size(); ++k) {
      const double change = w.level[k] - (nearest_value(w.level[k], step, kByte) + 0.5) * step;
      error += w.mass[k] * change * change;
    }
    if (error < best_error) {
      best_error = error;
      best_step = step;
    }
  }
  double by_level = 0, by_value = 0;
  for (size_t k = 0; k < w.level.size(); ++k) {
    const double u = nearest_value(w.level[k], best_step, kByte) + 0.5;
    by_level += w.mass[k] * w.level[k] * u;
    by_value += w.mass[k] * u * u;
  }
  return grid_at(w, round_to_16_bits(by_level / by_value), kByte);
}

}  // namespace

Result<LevelGrid> snap_to_grid(std::span<const float> levels) {
  HLWQ_TRY_ASSIGN(const WeightedLevels w, check_levels(levels));
  if (const auto grid = exact_grid(w)) return *grid;
  if (LevelGrid grid = nearest_grid(w); loss_db(w, grid) <= kMostLossDb) {
    grid.snap_db = loss_db(w, grid);
    return grid;
  }
  const double top = std::max(-w.level.front(), w.level.back());
  LevelGrid grid = grid_at(w, round_to_16_bits(top / 32767.5), kWord);
  grid.snap_db = loss_db(w, grid);
  return grid;
}

}  // namespace hlwq
