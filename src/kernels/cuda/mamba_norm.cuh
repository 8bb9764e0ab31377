#pragma once
// The gated group norm, a block of 128 channels of one group at a time: a warp holds a block, lane
// l elements 4l .. 4l+3. Sum of squares: a lane's elements by fma, lanes by halving distances,
// blocks ascending.

#include "kernels/cuda/mamba.h"
#include "kernels/cuda/rotate_quantize.cuh"

namespace hlwq::cuda {

// A group's channels of one token.
struct NormGroup {
  float* out;           // [width]
  const float* weight;  // [width]
  int width, blocks;
  bool aligned;         // both at multiples of 16 bytes
  int64_t first_block;  // int8 block of the first of them
};

__device__ __forceinline__ NormGroup norm_group(const MambaCall& a, int64_t token, int group) {
  NormGroup g;
  g.width = a.inner / a.groups;
  g.blocks = (g.width + kBlock - 1) / kBlock;
  g.out = a.out + token * a.out_stride + group * g.width;
  g.weight = a.norm_weight + group * g.width;
  g.aligned =
      ((reinterpret_cast<uintptr_t>(g.out) | reinterpret_cast<uintptr_t>(g.weight)) & 15) == 0;
  g.first_block = (token * a.groups + group) * g.blocks;
  return g;
}

// Every lane gets the block's sum.
__device__ __forceinline__ float sum_of_squares(const float (&v)[4]) {
  float squares = v[0] * v[0];
#pragma unroll
  for (int i = 1; i < 4; ++i) squares = fmaf(v[i], v[i], squares);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    squares += __shfl_xor_sync(0xffffffffu, squares, distance);
  return squares;
}

__device__ __forceinline__ float norm_scale(const NormGroup& g, float squares, float eps) {
  return __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(squares, static_cast<float>(g.width)) + eps));
}

// Writes block `block` of the group from its gated values, as FP32 and (wanted) int8.
__device__ __forceinline__ void write_block(const MambaCall& a, const NormGroup& g, int block,
                                            float (&v)[4], float scale) {
  const int lane = threadIdx.x % 32, first = block * kBlock + 4 * lane;
  float weight[4];
  load_lane4(weight, g.weight, first, g.width, g.aligned);
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = weight[i] * (v[i] * scale);
  if (g.aligned && first + 4 <= g.width) {
    *reinterpret_cast<float4*>(g.out + first) = make_float4(v[0], v[1], v[2], v[3]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (first + i < g.width) g.out[first + i] = v[i];
  }
  if (a.xq == nullptr) return;
  const LaneBlock q = rotate_quantize_lanes(v);
  const int64_t at = g.first_block + block;
  reinterpret_cast<uint32_t*>(a.xq + at * kBlock)[lane] = q.xq;
  if (lane == 0) {
    a.sx[at] = q.sx;
    a.sum[at] = q.sum;
    if (!q.finite) *a.non_finite = 1;
  }
}

}  // namespace hlwq::cuda
