#include "quant/block_dispatch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/cpu_features.h"

namespace hlwq {
namespace {

// The cell of z, in the arithmetic of the kernels.
int32_t cell_of(const NearestTable& table, float z) {
  const float x = std::fma(z, table.cell_scale, table.cell_offset);
  return static_cast<int32_t>(std::clamp(x, 0.0f, static_cast<float>(table.cells - 1)));
}

// Files each boundary under its cell; false when two share one.
bool fill_cells(NearestTable* table) {
  const int32_t boundaries = table->level_count - 1;
  std::fill_n(table->bound, kMaxCells, std::numeric_limits<float>::infinity());
  std::fill_n(table->base, kMaxCells, boundaries);
  int32_t filled = 0;  // cells below this one have their base
  for (int32_t k = 0; k < boundaries; ++k) {
    const int32_t cell = cell_of(*table, table->boundary[k]);
    if (cell < filled) return false;
    std::fill(table->base + filled, table->base + cell + 1, k);
    table->bound[cell] = table->boundary[k];
    filled = cell + 1;
  }
  return true;
}

// Largest float that is not above x.
float round_down(double x) {
  const auto nearest = static_cast<float>(x);
  if (static_cast<double>(nearest) <= x) return nearest;
  return std::nextafter(nearest, -std::numeric_limits<float>::infinity());
}

}  // namespace

void build_nearest_table(std::span<const float> levels, NearestTable* table) {
  HLWQ_CHECK(levels.size() >= 2 && levels.size() <= static_cast<size_t>(kMaxLevels));
  table->level_count = static_cast<int32_t>(levels.size());
  std::fill_n(table->level, kMaxLevels, 0.0f);
  std::copy(levels.begin(), levels.end(), table->level);
  table->top = std::max(std::abs(levels.front()), std::abs(levels.back()));
  std::fill_n(table->boundary, kMaxLevels, std::numeric_limits<float>::infinity());
  double least_gap = std::numeric_limits<double>::infinity();
  for (size_t k = 0; k + 1 < levels.size(); ++k) {
    HLWQ_CHECK(levels[k] < levels[k + 1]);
    // The sum of two floats is exact in double when their exponents are less than 29 apart, and
    // otherwise the smaller one cannot move the rounded midpoint past a float.
    table->boundary[k] =
        round_down((static_cast<double>(levels[k]) + static_cast<double>(levels[k + 1])) / 2);
    if (k > 0)
      least_gap = std::min(least_gap, static_cast<double>(table->boundary[k]) -
                                          static_cast<double>(table->boundary[k - 1]));
  }
  const double first = table->boundary[0];
  const double range = table->boundary[levels.size() - 2] - first;
  table->cells = 0;
  table->cell_scale = 0;
  table->cell_offset = 0;
  if (levels.size() == 2) {
    table->cells = 1;
    fill_cells(table);
    return;
  }
  // Cells a little narrower than the least gap separate all boundaries; the first lies in cell 0.
  const double scale = 1.001 / least_gap;
  if (!(range * scale < kMaxCells - 2)) return;
  table->cell_scale = static_cast<float>(scale);
  table->cell_offset = static_cast<float>(0.5 - first * scale);
  table->cells = static_cast<int32_t>(range * scale + 0.5) + 1;
  if (!fill_cells(table)) table->cells = 0;
}

const std::vector<const BlockKernels*>& usable_block_kernels() {
  static const std::vector<const BlockKernels*> kernels = [] {
    std::vector<const BlockKernels*> found{scalar_block_kernels()};
    if (cpu_features().avx2 && avx2_block_kernels() != nullptr)
      found.push_back(avx2_block_kernels());
    if (cpu_features().avx512_vnni && avx512_block_kernels() != nullptr)
      found.push_back(avx512_block_kernels());
    return found;
  }();
  return kernels;
}

}  // namespace hlwq
