#pragma once
// Borrowed matrices. A view is valid while the Buffer behind it lives; `device` says who may read.

#include <cstddef>
#include <cstdint>

#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace hlwq {

// Row-major FP32 rows; consecutive rows are `stride` elements apart (stride >= cols).
struct F32View {
  const float* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;
  [[nodiscard]] const float* row(int64_t r) const { return data + r * stride; }
};

struct MutF32View {
  float* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;
  [[nodiscard]] float* row(int64_t r) const { return data + r * stride; }
  operator F32View() const { return {data, rows, cols, stride}; }  // NOLINT: a view narrows freely
};

inline F32View dense(const float* data, int64_t rows, int64_t cols) {
  return {data, rows, cols, cols};
}
inline MutF32View dense(float* data, int64_t rows, int64_t cols) {
  return {data, rows, cols, cols};
}

}  // namespace hlwq
