// relu_squared.cu: the activation of MLPs whose down matrix does not read int8.
// Math    h = max(h, 0)^2, rounded once; NaN stays NaN
// Shapes  h f32[count], in place
// Bytes   8 a value
// Floor   a launch, or bytes at the speed of memory
// Method  a thread a value

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/relu_squared.h"
#include "ops/integer_dot.h"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) square(float* h, int64_t count) {
  let_next_start();
  wait_for_inputs();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) h[i] = relu_squared(h[i]);
}

}  // namespace

void square_positive(float* h, int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  launch(square,
         {.grid = static_cast<unsigned>((count + kThreads - 1) / kThreads),
          .block = kThreads,
          .stream = stream},
         h, count);
}

}  // namespace hlwq::cuda
