// add.cu: y += x for rows.
// Math    one addition
// Shapes  f32[rows][cols] with strides
// Bytes   12 a value: one row of 2688, 32 KB
// Floor   a launch; 4096 x 2688: 132 MB, 31 us
// Method  a thread for four neighbours of a row, one load where they are at a multiple of 16 bytes

#include "kernels/cuda/add.h"
#include "kernels/cuda/launch.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    add_to_rows(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y,
                int64_t y_stride) {
  let_next_start();
  wait_for_inputs();
  const int64_t fours = (cols + 3) / 4;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= rows * fours) return;
  const int64_t row = at / fours, col = at % fours * 4;
  const float* from = x + row * x_stride + col;
  float* to = y + row * y_stride + col;
  const bool aligned =
      ((reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to)) & 15) == 0;
  if (aligned && col + 4 <= cols) {
    const float4 a = *reinterpret_cast<const float4*>(to);
    const float4 b = *reinterpret_cast<const float4*>(from);
    *reinterpret_cast<float4*>(to) = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
    return;
  }
  for (int64_t i = 0; i < 4 && col + i < cols; ++i) to[i] += from[i];
}

}  // namespace

void add_rows(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y,
              int64_t y_stride, cudaStream_t stream) {
  const int64_t threads = rows * ((cols + 3) / 4);
  if (threads == 0) return;
  launch(add_to_rows,
         {.grid = static_cast<unsigned>((threads + kThreads - 1) / kThreads),
          .block = kThreads,
          .stream = stream},
         x, x_stride, rows, cols, y, y_stride);
}

}  // namespace hlwq::cuda
