#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hlwq::cuda {

// What happens to the values before they are rotated.
enum class BeforeRotation { kNothing, kReluSquared };

// Rows [rows, cols] of FP32, `stride` floats apart, to int8 blocks (ops/matrix.h, QuantizedView)
// with blocks = ceil(cols / 128).
struct RotateRows {
  const float* x = nullptr;
  int64_t stride = 0, rows = 0, cols = 0;
  int8_t* xq = nullptr;
  float* sx = nullptr;
  int32_t* sum = nullptr;
};

// Two sets of rows in one launch (the second may be empty). *non_finite becomes 1 when a block is
// not finite.
void rotate_quantize(const RotateRows& first, const RotateRows& second, BeforeRotation before,
                     uint32_t* non_finite, cudaStream_t stream);

inline void rotate_quantize(const float* x, int64_t stride, int64_t rows, int64_t cols, int8_t* xq,
                            float* sx, int32_t* sum, uint32_t* non_finite, cudaStream_t stream) {
  rotate_quantize({x, stride, rows, cols, xq, sx, sum}, {}, BeforeRotation::kNothing, non_finite,
                  stream);
}

}  // namespace hlwq::cuda
