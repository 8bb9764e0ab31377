#pragma once
// A warp rotates and quantizes one block of 128 activations (quant/activation.h), bit for bit: lane
// l holds elements 4l .. 4l+3. Strides 1 and 2 of the butterfly stay in the lane, 4 .. 64 are
// exchanges with the lanes at distance 1 .. 16.

#include <cstdint>

#include "quant/activation.h"

namespace hlwq::cuda {

struct LaneBlock {
  uint32_t xq;  // the lane's four int8, first in the low byte
  float sx;
  int32_t sum;
  bool finite;
};

// Of floats or, exactly, integers: 32 * kPerLane points, neighbours in a lane. Every lane of the
// warp calls it.
template <typename T, int kPerLane>
__device__ __forceinline__ void rotate_block(T (&z)[kPerLane]) {
#pragma unroll
  for (int stride = 1; stride < kPerLane; stride *= 2) {
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      if ((i & stride) != 0) continue;
      const T a = z[i], b = z[i + stride];
      z[i] = a + b;
      z[i + stride] = a - b;
    }
  }
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const bool upper = (threadIdx.x & distance) != 0;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const T other = __shfl_xor_sync(0xffffffffu, z[i], distance);
      z[i] = upper ? other - z[i] : z[i] + other;
    }
  }
}

__device__ __forceinline__ LaneBlock rotate_quantize_lanes(float (&z)[4]) {
  rotate_block(z);
  // Magnitudes order like their bits; NaN and infinity are above every finite one.
  uint32_t most = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) most = max(most, __float_as_uint(z[i]) & 0x7fffffffu);
  most = __reduce_max_sync(0xffffffffu, most);
  const bool finite = most < 0x7f800000u;
  const float m = __uint_as_float(most);
  if (!finite || m < kTinyActivation) return {0u, 0.0f, 0, finite};
  const float sx = __fdiv_rn(m, 127.0f);
  uint32_t packed = 0;
  int32_t sum = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int32_t q = __float2int_rn(__fdiv_rn(z[i], sx));
    packed |= (static_cast<uint32_t>(q) & 0xffu) << (8 * i);
    sum += q;
  }
  return {packed, sx, __reduce_add_sync(0xffffffffu, sum), true};
}

// Elements 4*lane .. +3 of a row of `count` values from `row`, zeros beyond; `aligned`: row is at a
// multiple of 16 bytes.
__device__ __forceinline__ void load_lane4(float (&v)[4], const float* row, int first, int count,
                                           bool aligned) {
  if (aligned && first + 4 <= count) {
    const float4 four = *reinterpret_cast<const float4*>(row + first);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = first + i < count ? row[first + i] : 0.0f;
}

}  // namespace hlwq::cuda
