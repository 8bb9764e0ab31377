#pragma once
// A warp rotates and codes one vector of keys or values, bit for bit as quant/kv_codec.cc: lane l
// holds the neighbours kPerLane * l .. kPerLane * l + kPerLane - 1.

#include <cstdint>

#include "base/float16.h"
#include "kernels/cuda/attention_math.cuh"
#include "quant/kv_codes.h"

namespace hlwq::cuda {

// Neighbours are added, then neighbours of those sums, and so on.
template <int kPerLane>
__device__ __forceinline__ float tree_sum(float (&terms)[kPerLane]) {
#pragma unroll
  for (int count = kPerLane; count > 1; count /= 2) {
#pragma unroll
    for (int i = 0; i < count / 2; ++i) terms[i] = terms[2 * i] + terms[2 * i + 1];
  }
  float sum = terms[0];
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2)
    sum += __shfl_xor_sync(kAllLanes, sum, distance);
  return sum;
}

// z: the butterfly of the vector, limited before. Writes its codes and scale for a token.
template <int kBits, int kPerLane>
__device__ void encode_lanes(const float (&z)[kPerLane], unsigned char* section, int token) {
  constexpr int kHeadDim = 32 * kPerLane;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint32_t most = 0;  // magnitudes order like their bits; NaN and infinity are above the others
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) most = max(most, __float_as_uint(z[i]) & 0x7fffffffu);
  most = __reduce_max_sync(kAllLanes, most);
  const float peak = __uint_as_float(most);
  const bool finite = most < 0x7f800000u, coded = finite && peak >= kKvTiny;

  float inverse = 0;
  uint16_t scale = finite ? 0 : f32_to_f16(__uint_as_float(0x7fc00000u));
  if (coded) {
    const auto try_scale = [&](float by) {
      float zc[kPerLane], cc[kPerLane];
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        const float level = kv_half_level<kBits>(kv_code<kBits>(z[i] * by));
        zc[i] = z[i] * level;
        cc[i] = level * level;
      }
      KvFit fit;
      fit.zc = tree_sum(zc);
      fit.cc = tree_sum(cc);
      return fit;
    };
    float squares[kPerLane];
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) squares[i] = z[i] * z[i];
    const float rms = __fsqrt_rn(__fdiv_rn(tree_sum(squares), static_cast<float>(kHeadDim)));
    KvFit best;
    inverse = kv_search<kBits>(rms, peak, best, try_scale);
    scale = f32_to_f16(kv_scale(best, __fsqrt_rn(static_cast<float>(kHeadDim))));
  }

  // A unit is 32 / kPerLane lanes.
  constexpr int kLanes = kKvUnit / kPerLane;
  uint32_t words[kBits] = {};
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int code = coded ? kv_code<kBits>(z[i] * inverse) : 1 << (kBits - 1);
    kv_place<kBits>(words, (lane * kPerLane + i) % kKvUnit, code);
  }
  auto* const to = reinterpret_cast<uint32_t*>(section);
  const int unit = lane / kLanes;
#pragma unroll
  for (int word = 0; word < kBits; ++word) {
#pragma unroll
    for (int distance = 1; distance < kLanes; distance *= 2)
      words[word] |= __shfl_xor_sync(kAllLanes, words[word], distance);
    if (lane % kLanes == word % kLanes) to[kv_word_at(kHeadDim, word, unit, token)] = words[word];
  }
  if (lane == 0)
    reinterpret_cast<uint16_t*>(section + kv_codes_bytes(kBits, kHeadDim))[token] = scale;
}

// A vector of a token, as a lane holds it: limited to FP16's range, rotated when it is coded.
template <int kPerLane>
struct LaneVector {
  float v[kPerLane];

  // The butterfly, when `bits` are codes.
  __device__ __forceinline__ void load(const float* from, int bits) {
    const int first = static_cast<int>(threadIdx.x) % 32 * kPerLane;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) v[i] = kv_limited(from[first + i]);
    if (bits < kPlainKvBits) rotate_block(v);
  }
  // What is kept exactly.
  __device__ __forceinline__ __half exact(int i, int bits) const {
    return to_half(bits < kPlainKvBits ? v[i] * inverse_root(32 * kPerLane) : v[i]);
  }
  // The token's row of a section.
  __device__ __forceinline__ void encode(unsigned char* section, int bits, int token) const {
    switch (bits) {
      case 2:
        return encode_lanes<2>(v, section, token);
      case 3:
        return encode_lanes<3>(v, section, token);
      case 4:
        return encode_lanes<4>(v, section, token);
      case 8:
        return encode_lanes<8>(v, section, token);
      default:
        put(reinterpret_cast<__half*>(section) + token * 32 * kPerLane, bits);
    }
  }
  __device__ __forceinline__ void put(__half* row, int bits) const {
    const int first = static_cast<int>(threadIdx.x) % 32 * kPerLane;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) row[first + i] = exact(i, bits);
  }
};

}  // namespace hlwq::cuda
