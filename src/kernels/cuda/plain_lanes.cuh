#pragma once
// A warp's part of a product with plain weights: lane l sums columns k = 128 i + 4 l .. + 3 by fma,
// ascending k, from +0; the lanes are then added by the tree of sum_over_lanes. Whoever multiplies
// so gives the same bits.

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/plain_product.h"

namespace hlwq::cuda {

inline constexpr int kPlainStep = 128;  // columns of one step of a warp

// Four weights as they lie in memory.
template <PlainType kType>
struct Weights4 {
  using Raw = uint2;
};
template <>
struct Weights4<PlainType::kF32> {
  using Raw = uint4;
};

template <PlainType kType>
__device__ __forceinline__ float4 widen(const typename Weights4<kType>::Raw& raw) {
  if constexpr (kType == PlainType::kF32) {
    return make_float4(__uint_as_float(raw.x), __uint_as_float(raw.y), __uint_as_float(raw.z),
                       __uint_as_float(raw.w));
  } else if constexpr (kType == PlainType::kBF16) {
    return make_float4(__uint_as_float(raw.x << 16), __uint_as_float(raw.x & 0xffff0000u),
                       __uint_as_float(raw.y << 16), __uint_as_float(raw.y & 0xffff0000u));
  } else {
    const auto half = [](uint32_t bits) {
      return __half2float(__ushort_as_half(static_cast<unsigned short>(bits & 0xffffu)));
    };
    return make_float4(half(raw.x), half(raw.x >> 16), half(raw.y), half(raw.y >> 16));
  }
}

__device__ __forceinline__ float multiply_add(const float4& w, const float4& x, float sum) {
  return fmaf(w.w, x.w, fmaf(w.z, x.z, fmaf(w.y, x.y, fmaf(w.x, x.x, sum))));
}

}  // namespace hlwq::cuda
