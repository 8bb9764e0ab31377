// rotate_quantize.cu: int8 activations of D1 from FP32 rows.
// Math    z = butterfly(f(x_b)); sx = max|z| / 127; xq = rint(z / sx); sum of xq; f: identity or
// relu^2 Shapes  x f32[rows][cols] -> xq i8[rows][blocks*128], sx f32, sum i32 [rows][blocks]; any
// cols >= 1 Bytes   rows * cols * 5 + rows * blocks * 8; six experts and the shared one: 74 KB
// Floor   a launch
// Method  a warp a block; butterfly by exchanges within the warp (rotate_quantize.cuh)
// Source  own; docs/math.md#integer-products

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rotate_quantize.cuh"
#include "kernels/cuda/rotate_quantize.h"
#include "ops/integer_dot.h"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8;

struct Set {
  RotateRows rows;
  int blocks;  // of a row
};

// Block `at` of all blocks of a set, by one warp.
template <BeforeRotation kBefore>
__device__ __forceinline__ void rotate_one(const Set& set, int64_t at, uint32_t* non_finite) {
  const int64_t row = at / set.blocks;
  const int block = static_cast<int>(at % set.blocks);
  const int lane = threadIdx.x % 32;
  const float* from = set.rows.x + row * set.rows.stride;
  float z[4];
  load_lane4(z, from, block * kBlock + 4 * lane, static_cast<int>(set.rows.cols),
             (reinterpret_cast<uintptr_t>(from) & 15) == 0);
  if constexpr (kBefore == BeforeRotation::kReluSquared) {
#pragma unroll
    for (float& v : z) v = relu_squared(v);
  }
  const LaneBlock q = rotate_quantize_lanes(z);
  reinterpret_cast<uint32_t*>(set.rows.xq + at * kBlock)[lane] = q.xq;
  if (lane == 0) {
    set.rows.sx[at] = q.sx;
    set.rows.sum[at] = q.sum;
    if (!q.finite) *non_finite = 1;
  }
}

template <BeforeRotation kBefore>
__global__ void __launch_bounds__(kWarps * 32)
    rotate_quantize_rows(const Set first, const Set second, uint32_t* non_finite) {
  let_next_start();
  wait_for_inputs();
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int64_t in_first = first.rows.rows * first.blocks;
  if (at < in_first) {
    rotate_one<kBefore>(first, at, non_finite);
  } else if (at - in_first < second.rows.rows * second.blocks) {
    rotate_one<kBefore>(second, at - in_first, non_finite);
  }
}

}  // namespace

void rotate_quantize(const RotateRows& first, const RotateRows& second, BeforeRotation before,
                     uint32_t* non_finite, cudaStream_t stream) {
  const Set sets[] = {{first, static_cast<int>(blocks_of(first.cols))},
                      {second, static_cast<int>(blocks_of(second.cols))}};
  const int64_t blocks = first.rows * sets[0].blocks + second.rows * sets[1].blocks;
  if (blocks == 0) return;
  const auto kernel = before == BeforeRotation::kNothing
                          ? rotate_quantize_rows<BeforeRotation::kNothing>
                          : rotate_quantize_rows<BeforeRotation::kReluSquared>;
  launch(kernel,
         {.grid = static_cast<unsigned>((blocks + kWarps - 1) / kWarps),
          .block = kWarps * 32,
          .stream = stream},
         sets[0], sets[1], non_finite);
}

}  // namespace hlwq::cuda
