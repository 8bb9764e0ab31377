#pragma once
// Which kernels a matrix needs, and what they want to know of it.

#include "kernels/cuda/product.h"
#include "kernels/cuda/tiled5_product.h"
#include "ops/backend.h"
#include "ops/integer_dot.h"
#include "ops/matrix.h"

namespace hlwq::cuda {

enum class MatrixKind {
  kTiled5,  // 5-bit codes by integers
  kPlanes,  // other codes by integers
  kExact,   // any codes by decoded levels
  kPlain,   // F32, F16, BF16
};

inline MatrixKind kind_of(const Matrix& matrix, Compute compute) {
  if (!matrix.coded()) return MatrixKind::kPlain;
  if (compute == Compute::kExact) return MatrixKind::kExact;
  return matrix.layout == CodeLayout::kTiled5 ? MatrixKind::kTiled5 : MatrixKind::kPlanes;
}

inline Tiled5Table tiled5_table(const LevelGrid& grid) {
  Tiled5Table table = {.words = {}, .factor = grid_factor(grid.step)};
  for (size_t i = 0; i < 16; ++i)
    table.words[i / 4] |= static_cast<uint32_t>(grid.v[16 + i] & 0x7f) << (8 * (i % 4));
  return table;
}

inline QuantizedRows quantized_rows(const QuantizedView& q) {
  return {.xq = q.xq, .sx = q.sx, .sum = q.sum, .blocks = q.blocks};
}

}  // namespace hlwq::cuda
