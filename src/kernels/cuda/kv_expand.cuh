#pragma once
// Codes of a page's keys or values become a tile of FP16 (quant/kv_codes.h, ops/kv_pages.h).
//
// Nibbles of a word select bytes: one permutation looks up the low bytes of four levels, one the
// high bytes, two weave them into pairs. With the product by the scale that is 8.5 instructions for
// four codes of 3 bits, 7.5 of 2, 8.5 of 4 and 8 of 8.

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/attention_math.cuh"
#include "ops/kv_pages.h"

namespace hlwq::cuda {

// FP16 bits of (v + 1/2) / 64, for v from 0 to 127.
HLWQ_HD constexpr uint32_t half_of_grid(int v) {
  const auto odd = static_cast<uint32_t>(2 * v + 1);  // in units of 1/128
  int exponent = 0;
  while (odd >> (exponent + 1) != 0) ++exponent;
  return static_cast<uint32_t>(exponent + 8) << 10 | (odd << (10 - exponent) & 0x3ff);
}

// Bytes of eight levels (of four, twice), the first in the low byte: by code, or at 4 bits by
// magnitude.
struct LevelBytes {
  uint32_t low[2] = {}, high[2] = {};
};
template <int kBits>
HLWQ_HD constexpr LevelBytes level_bytes() {
  constexpr int kHalf = 1 << (kBits - 1);
  LevelBytes bytes;
  for (int i = 0; i < 8; ++i) {
    uint32_t half;
    if (kBits == 4) {
      half = half_of_grid(kv_grid<kBits>(i));
    } else {
      const int code = i % (2 * kHalf);
      half = code >= kHalf ? half_of_grid(kv_grid<kBits>(code - kHalf))
                           : half_of_grid(kv_grid<kBits>(kHalf - 1 - code)) | 0x8000;
    }
    bytes.low[i / 4] |= (half & 0xff) << (8 * (i % 4));
    bytes.high[i / 4] |= (half >> 8) << (8 * (i % 4));
  }
  return bytes;
}

// Four levels by the low four nibbles of `selectors`; `signs` flips those whose byte's top bit is
// set in it.
template <int kBits>
__device__ __forceinline__ void four_levels(uint32_t& first, uint32_t& second, uint32_t selectors,
                                            uint32_t signs) {
  constexpr LevelBytes kBytes = level_bytes<kBits>();
  const uint32_t low = __byte_perm(kBytes.low[0], kBytes.low[1], selectors);
  uint32_t high = __byte_perm(kBytes.high[0], kBytes.high[1], selectors);
  if constexpr (kBits == 4) high ^= signs & 0x80808080u;
  first = __byte_perm(low, high, 0x5140);
  second = __byte_perm(low, high, 0x7362);
}

// Levels of elements [8 group, 8 group + 8) of a unit, as pairs of FP16.
template <int kBits>
__device__ __forceinline__ void levels_of_group(uint32_t (&pairs)[4],
                                                const uint32_t (&words)[kBits], int group) {
  if constexpr (kBits == 8) {
    // A byte below 0x64 is 1024 + code.
    const __half2 unit = __float2half2_rn(kKvLevelUnit), zero_level = __float2half2_rn(-18.0f);
    const __half2 half_step = __float2half2_rn(kKvLevelUnit / 2);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t bits =
          __byte_perm(words[2 * group + i / 2], 0x64646464u, i % 2 == 0 ? 0x4140 : 0x4342);
      __half2 level;
      memcpy(&level, &bits, sizeof(level));
      pairs[i] = bits_of(__hadd2(__hfma2(level, unit, zero_level), half_step));
    }
  } else {
    uint32_t selectors;
    if constexpr (kBits == 4) {
      selectors = words[group] & 0x77777777u;
    } else {
      selectors = words[group / 2] >> (2 * (group % 2)) & 0x33333333u;
    }
    if constexpr (kBits == 3) {
      const uint32_t high = group < 2 ? words[2] << (2 - group) : words[2] >> (group - 2);
      selectors |= high & 0x44444444u;
    }
    const uint32_t signs = kBits == 4 ? words[group] : 0;
    four_levels<kBits>(pairs[0], pairs[1], selectors, signs);
    four_levels<kBits>(pairs[2], pairs[3], selectors >> 16, signs << 4);
  }
}

template <int kBits, int kHeadDim, int kThreads>
__device__ __forceinline__ void expand_codes(__half* tile, const unsigned char* section) {
  constexpr int kPage = static_cast<int>(kPageTokens), kUnits = kHeadDim / kKvUnit;
  const auto* const words = reinterpret_cast<const uint32_t*>(section);
  const auto* const scales =
      reinterpret_cast<const __half*>(section + kv_codes_bytes(kBits, kHeadDim));
  // Neighbouring threads have neighbouring keys: words come from different banks, and the stirred
  // groups of 8 elements go to different ones.
#pragma unroll 1
  for (int first = 0; first < kPage * kUnits; first += kThreads) {
    const int at = first + static_cast<int>(threadIdx.x);
    if (kPage * kUnits % kThreads != 0 && at >= kPage * kUnits) break;
    const int key = at % kPage, unit = at / kPage;
    uint32_t of_unit[kBits];
#pragma unroll
    for (int word = 0; word < kBits; ++word)
      of_unit[word] = words[(word * kUnits + unit) * kPage + key];
    const __half2 scale = __half2half2(scales[key]);
#pragma unroll
    for (int group = 0; group < 4; ++group) {
      uint32_t pairs[4];
      levels_of_group<kBits>(pairs, of_unit, group);
#pragma unroll
      for (uint32_t& pair : pairs) {
        __half2 level;
        memcpy(&level, &pair, sizeof(level));
        pair = bits_of(__hmul2(level, scale));
      }
      *reinterpret_cast<uint4*>(tile + tile_at<kHeadDim>(key, unit * kKvUnit + group * 8)) =
          make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
  }
}

// A section of codes in shared memory becomes a tile.
template <int kHeadDim, int kThreads>
__device__ __forceinline__ void expand_section(__half* tile, const unsigned char* section,
                                               int bits) {
  switch (bits) {
    case 2:
      return expand_codes<2, kHeadDim, kThreads>(tile, section);
    case 3:
      return expand_codes<3, kHeadDim, kThreads>(tile, section);
    case 4:
      return expand_codes<4, kHeadDim, kThreads>(tile, section);
    default:
      return expand_codes<8, kHeadDim, kThreads>(tile, section);
  }
}

// Asks for a section; all of it is 16-byte parts.
template <int kThreads>
__device__ __forceinline__ void copy_section(unsigned char* to, const unsigned char* from,
                                             int bytes) {
  for (int at = static_cast<int>(threadIdx.x) * 16; at < bytes; at += kThreads * 16)
    copy_async16(shared_address(to + at), from + at);
}

}  // namespace hlwq::cuda
