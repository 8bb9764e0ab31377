#pragma once
// Matrices and activations of the op interface as the general kernels take them.

#include "base/check.h"
#include "kernels/cuda/coded_form.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/plain_product.h"
#include "ops/matrix.h"

namespace hlwq::cuda {

inline PlainType plain_type(DType dtype) {
  HLWQ_CHECK(is_weight_float(dtype));
  return dtype == DType::kF32   ? PlainType::kF32
         : dtype == DType::kF16 ? PlainType::kF16
                                : PlainType::kBF16;
}

inline PlainRows plain_rows(const F32View& x) {
  return {.x = x.data, .stride = x.stride, .cols = x.cols};
}

inline CodedForm coded_form(const Matrix& matrix) {
  const LevelGrid& grid = *matrix.grid;
  const bool tiled5 = matrix.layout == CodeLayout::kTiled5;
  HLWQ_CHECK(!tiled5 || (grid.bits == 5 && grid.symmetric && !grid.wide));
  return coded_form(grid.v.data(), grid.bits, grid.step, grid.wide, tiled5);
}

inline EmbedTable embed_table(const Matrix& matrix) {
  EmbedTable table;
  table.data = matrix.data;
  table.rows = matrix.rows;
  table.cols = matrix.cols;
  table.coded = matrix.coded();
  if (table.coded) {
    table.form = coded_form(matrix);
  } else {
    table.type = plain_type(matrix.dtype);
  }
  return table;
}

}  // namespace hlwq::cuda
