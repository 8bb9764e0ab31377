// rms_norm.cu: normalized rows, with their int8 form when coded matrices read them.
// Math    y = w * (x * 1/sqrt(mean(x^2) + eps)); then as rotate_quantize.cu
//         sum of squares: four elements of a lane by fma, 32 lanes by halving distances, blocks of
//         128 ascending; the same for every row count and card
// Shapes  x f32[rows][width], w f32[width] -> y f32, xq i8[rows][blocks*128], sx, sum
// [rows][blocks] Bytes   width 2688, one row: 35 KB Floor   a launch; its latency is two trips to
// L2, a barrier and the warp exchanges Method  a CTA a row, a warp a block of 128 (more blocks than
// warps: in turns)

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rotate_quantize.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kMostWarps = 32;
constexpr int kMostBlocks = 1024;  // of a row: 131,072 values

__global__ void __launch_bounds__(kMostWarps * 32) rms_norm_rows(const RmsNormRows a, int blocks) {
  __shared__ float block_sum[kMostBlocks];
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t row = blockIdx.x;
  const auto width = static_cast<int>(a.width);
  const float* x = a.x + row * a.x_stride;
  float* y = a.y + row * a.y_stride;
  const bool aligned = ((reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(y) |
                         reinterpret_cast<uintptr_t>(a.weight)) &
                        15) == 0;
  float weight[4], v[4];
  load_lane4(weight, a.weight, warp * kBlock + 4 * lane, width, aligned);
  let_next_start();
  wait_for_inputs();
  for (int block = warp; block < blocks; block += warps) {
    load_lane4(v, x, block * kBlock + 4 * lane, width, aligned);
    float squares = v[0] * v[0];
#pragma unroll
    for (int i = 1; i < 4; ++i) squares = fmaf(v[i], v[i], squares);
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
      squares += __shfl_xor_sync(0xffffffffu, squares, distance);
    if (lane == 0) block_sum[block] = squares;
  }
  __syncthreads();  // block_sum is complete before anyone adds it up
  float squares = 0;
  for (int block = 0; block < blocks; ++block) squares += block_sum[block];
  const float scale =
      __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(squares, static_cast<float>(width)) + a.eps));
  for (int block = warp; block < blocks; block += warps) {
    const int first = block * kBlock + 4 * lane;
    if (blocks > warps) {  // a warp with one block has both in its registers still
      load_lane4(v, x, first, width, aligned);
      load_lane4(weight, a.weight, first, width, aligned);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = weight[i] * (v[i] * scale);
    if (aligned && first + 4 <= width) {
      *reinterpret_cast<float4*>(y + first) = make_float4(v[0], v[1], v[2], v[3]);
    } else {
      for (int i = 0; i < 4; ++i)
        if (first + i < width) y[first + i] = v[i];
    }
    if (a.xq == nullptr) continue;
    const LaneBlock q = rotate_quantize_lanes(v);
    const int64_t at = row * blocks + block;
    reinterpret_cast<uint32_t*>(a.xq + at * kBlock)[lane] = q.xq;
    if (lane == 0) {
      a.sx[at] = q.sx;
      a.sum[at] = q.sum;
      if (!q.finite) *a.non_finite = 1;
    }
  }
}

}  // namespace

void rms_norm(const RmsNormRows& args, cudaStream_t stream) {
  if (args.rows == 0) return;
  const int64_t blocks = blocks_of(args.width);
  const auto warps = static_cast<unsigned>(blocks < kMostWarps ? blocks : kMostWarps);
  launch(rms_norm_rows,
         {.grid = static_cast<unsigned>(args.rows), .block = warps * 32, .stream = stream}, args,
         static_cast<int>(blocks));
}

}  // namespace hlwq::cuda
