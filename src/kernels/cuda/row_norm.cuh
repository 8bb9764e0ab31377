#pragma once
// The RMS norm of a row, or of a group of its channels, a block of 128 a warp, lane l elements
// 4l .. 4l+3: the pieces of every kernel that norms, so that all of them give the same bits.
// Sum of squares: a lane's elements by fma, lanes by halving distances, blocks ascending.

#include "base/host_device.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rotate_quantize.cuh"

namespace hlwq::cuda {

// Whether x, y and the weight of a row can be read four floats at a time.
HLWQ_HD inline bool row_is_aligned(const RmsNormRows& a, int64_t row) {
  return ((reinterpret_cast<uintptr_t>(a.x + row * a.x_stride) |
           reinterpret_cast<uintptr_t>(a.y + row * a.y_stride) |
           reinterpret_cast<uintptr_t>(a.weight)) &
          15) == 0;
}

// To be added over the lanes by the tree of sum_over_lanes.
__device__ __forceinline__ float squares_of_lane(const float (&v)[4]) {
  float squares = v[0] * v[0];
#pragma unroll
  for (int i = 1; i < 4; ++i) squares = fmaf(v[i], v[i], squares);
  return squares;
}

// 1 / sqrt(mean + eps)
__device__ __forceinline__ float root_scale(float squares, const RmsNormRows& a) {
  return __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(squares, static_cast<float>(a.width)) + a.eps));
}

// Sums of squares are added up so many blocks at a time, to read them all before adding.
inline constexpr int kSquaresAtOnce = 32;

// root_scale from the blocks' sums of squares: at a multiple of 16 bytes, and with zeros
// after them up to a multiple of kSquaresAtOnce (adding 0 changes no bit: no sum is negative).
__device__ __forceinline__ float norm_scale(const float* block_squares, int blocks,
                                            const RmsNormRows& a) {
  float squares = 0;
#pragma unroll 1
  for (int first = 0; first < blocks; first += kSquaresAtOnce) {
    float4 four[kSquaresAtOnce / 4];
#pragma unroll
    for (int i = 0; i < kSquaresAtOnce / 4; ++i)
      four[i] = reinterpret_cast<const float4*>(block_squares + first)[i];
#pragma unroll
    for (const float4& f : four) {
      squares += f.x;
      squares += f.y;
      squares += f.z;
      squares += f.w;
    }
  }
  return root_scale(squares, a);
}

__device__ __forceinline__ void norm_lane(float (&v)[4], const float (&weight)[4], float scale) {
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = weight[i] * (v[i] * scale);
}

// Writes a normed block of the row, as FP32 and (wanted) int8. All lanes of the warp call.
__device__ __forceinline__ void write_normed(const RmsNormRows& a, int64_t row, int block,
                                             int blocks, float (&v)[4], bool aligned) {
  const auto width = static_cast<int>(a.width);
  const int lane = threadIdx.x % 32, first = block * kBlock + 4 * lane;
  float* y = a.y + row * a.y_stride;
  if (aligned && first + 4 <= width) {
    *reinterpret_cast<float4*>(y + first) = make_float4(v[0], v[1], v[2], v[3]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (first + i < width) y[first + i] = v[i];
  }
  if (a.xq == nullptr) return;
  const LaneBlock q = rotate_quantize_lanes(v);
  const int64_t at = row * blocks + block;
  reinterpret_cast<uint32_t*>(a.xq + at * kBlock)[lane] = q.xq;
  if (lane == 0) {
    a.sx[at] = q.sx;
    a.sum[at] = q.sum;
    if (!q.finite) *a.non_finite = 1;
  }
}

}  // namespace hlwq::cuda
