#pragma once
// Weight matrices and activations as back ends see them. All borrowed.

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/codebook.h"
#include "quant/layout.h"
#include "tensor/dtype.h"
#include "tensor/view.h"

namespace hlwq {

// y = x Wᵀ with W [rows, cols]: rows = out_features, cols = in_features. Plain: row-major F32, F16
// or BF16. Coded: one of the layouts of quant/layout.h with its level grid.
struct Matrix {
  const std::byte* data = nullptr;
  int64_t rows = 0, cols = 0;
  DType dtype = DType::kF32;        // of plain matrices
  const LevelGrid* grid = nullptr;  // non-null: coded
  CodeLayout layout = CodeLayout::kTiled5;

  [[nodiscard]] bool coded() const { return grid != nullptr; }
  [[nodiscard]] int64_t blocks() const { return blocks_of(cols); }
  [[nodiscard]] CodedShape coded_shape() const { return {layout, grid->bits, rows, cols}; }
  [[nodiscard]] size_t bytes() const {
    return coded() ? static_cast<size_t>(coded_shape().bytes())
                   : static_cast<size_t>(rows * cols * bytes_of(dtype));
  }
};

// int8 activations of D1 for `rows` tokens: row-major, blocks*128 and blocks wide.
struct QuantizedView {
  int8_t* xq = nullptr;    // [rows, blocks*128]
  float* sx = nullptr;     // [rows, blocks]
  int32_t* sum = nullptr;  // [rows, blocks], sum of xq in the block
  int64_t rows = 0, blocks = 0;
};

// The input of matrix products: FP32 rows, and (int8 compute) the same rows rotated and quantized.
// `q.xq` is null when nothing coded reads this activation or the compute mode is exact.
struct Activation {
  MutF32View x;  // [tokens, cols]
  QuantizedView q;
};

// One expert, or any relu2 MLP: y = down( relu(up x)^2 ).
struct Mlp {
  Matrix up, down;
};

}  // namespace hlwq
