#pragma once
// Codebooks for N(0,1): the published tables, the true optimum, and the optimum on the int8 grid.
// Math and figures: docs/math.md#codebooks; values: docs/format.md#codebooks.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hlwq {

inline constexpr int kMinBits = 2;
inline constexpr int kMaxBits = 8;

enum class CodebookKind {
  kWire,     // published weight table: 100 Lloyd steps, outer cells open
  kKv,       // published KV-cache table: 100 steps, outer cells closed at +-4, FP32 state
  kOptimal,  // the Lloyd-Max fixed point
  kGrid,     // least error among tables c[k] = (v[k] + 1/2) * step, v int8, step of <= 16 bits
};

// Ascending levels, 2^bits of them, FP32. All are antisymmetric: c[k] == -c[L-1-k].
using Levels = std::vector<float>;

// Cached; bits in [2, 8] (kGrid: 2..8, at 8 bits every int8 value is a level).
const Levels& codebook(CodebookKind kind, int bits);

// Mean squared error of nearest-level quantization of N(0,1), in double.
[[nodiscard]] double gaussian_mse(std::span<const float> levels);

// log of the N(0,1) mass of each level's cell (midpoint boundaries), floored at 1e-30.
[[nodiscard]] std::vector<double> log_cell_mass(std::span<const float> levels);

// A table on the half-offset integer grid: level k is (v[k] + 1/2) * step, exactly.
struct LevelGrid {
  int bits = 0;
  float step = 0;                // > 0, at most 16 significant bits
  std::array<int16_t, 256> v{};  // first 2^bits entries; int8 range unless `wide`
  bool wide = false;             // levels need 16 bits: two int8 planes, the general kernels
  bool symmetric = false;        // v[L-1-k] == -v[k] - 1 for all k, and v[L/2..] fits 0..127
  double snap_db = 0;            // loss of Gaussian SNR by snapping (0: the table was on the grid)

  [[nodiscard]] int levels() const { return 1 << bits; }
  [[nodiscard]] float level(int k) const {
    return (static_cast<float>(v[static_cast<size_t>(k)]) + 0.5f) * step;
  }
};

// Puts a table onto the grid: exactly when it is on one (ours are), else the nearest int8 grid when
// that loses at most 0.1 dB of Gaussian SNR, else the 16-bit grid. Errors: kBadValue when levels
// are not finite and strictly ascending or their number is not 2^bits for bits in [2, 8].
// Levels that no N(0,1) codebook has (largest outside 2^-20..2^20) are refused as well. Cost: 5 us
// on a grid, else up to 1 ms (8 bits), so a caller with one table for many tensors asks once.
[[nodiscard]] Result<LevelGrid> snap_to_grid(std::span<const float> levels);

}  // namespace hlwq
