#pragma once
// Codes of keys and values: the arithmetic that the host and the GPU share (docs/math.md#kv-cache).
//
// A head's vector is rotated, z = butterfly(v), and every element becomes a sign and one of a few
// magnitudes; H v is then scale * level, with one FP16 scale a vector. Levels are (v + 1/2) / 64
// for the int8 v of the grid codebook (quant/codebook.h; at 8 bits every int8), so FP16 holds them
// exactly, and scales are about as large as the elements are. Order and rounding of everything
// below are fixed: the same vector has the same codes and scale on every device.

#include <cmath>
#include <cstdint>

#include "base/host_device.h"

namespace hlwq {

inline constexpr int kPlainKvBits = 16;  // not coded
inline constexpr int kLeastKvDim = 32, kMostKvDim = 256;
inline constexpr int kKvUnit = 32;  // neighbouring elements that share words

HLWQ_HD constexpr bool is_kv_code(int bits) {
  return bits == 2 || bits == 3 || bits == 4 || bits == 8;
}

// v of magnitude m; m in [0, 2^(bits - 1)). The grid codebooks, which a test compares.
template <int kBits>
HLWQ_HD constexpr int kv_grid(int m) {
  static_assert(is_kv_code(kBits));
  if constexpr (kBits == 8) return m;
  constexpr uint64_t kTwo = 0x7623, kThree = 0x6d44'260c, kFour = 0x7256'4334'271b'1005;
  constexpr uint64_t kAll = kBits == 2 ? kTwo : kBits == 3 ? kThree : kFour;
  return static_cast<int>((kAll >> (8 * m)) & 0xff);
}

// Codes ascend with their levels: 2^(bits - 1) + m above zero, 2^(bits - 1) - 1 - m below.
// v + 1/2 of a code.
template <int kBits>
HLWQ_HD constexpr float kv_half_level(int code) {
  constexpr int kHalf = 1 << (kBits - 1);
  return code >= kHalf ? static_cast<float>(kv_grid<kBits>(code - kHalf)) + 0.5f
                       : -(static_cast<float>(kv_grid<kBits>(kHalf - 1 - code)) + 0.5f);
}
inline constexpr float kKvLevelUnit = 1.0f / 64;
template <int kBits>
HLWQ_HD constexpr float kv_level(int code) {
  return kv_half_level<kBits>(code) * kKvLevelUnit;
}

// The nearest level of x, which is in units of v; halfway, the one nearer to zero.
template <int kBits>
HLWQ_HD inline int kv_code(float x) {
  constexpr int kHalf = 1 << (kBits - 1);
  const float size = x < 0 ? -x : x;
  int m = 0;
  if constexpr (kBits == 8) {
    const float whole = ceilf(size) - 1.0f;
    m = whole < 0.0f ? 0 : whole > 127.0f ? 127 : static_cast<int>(whole);
  } else {
    for (int i = 0; i + 1 < kHalf; ++i) {
      const float middle = 0.5f * static_cast<float>(kv_grid<kBits>(i) + kv_grid<kBits>(i + 1) + 1);
      m += size > middle ? 1 : 0;
    }
  }
  return x < 0 ? kHalf - 1 - m : kHalf + m;
}

// The search of a vector's scale: what a normal variable's codebook says, then kKvTrials that put
// the peak at a factor of the outermost level, then one refinement. Error relative to the signal of
// normal vectors of 128, at 2, 3, 4 and 8 bits: 0.1154, 0.0336, 0.0092, 8.2e-5 without a search;
// 0.1146, 0.0318, 0.0078, 4.3e-5 with it; twelve trials would win 0.4 % more at 3 bits.
inline constexpr int kKvTrials = 4;
template <int kBits>
HLWQ_HD constexpr float kv_inverse_factor(int trial) {
  constexpr float kLow = kBits == 2 ? 0.5f : kBits == 3 ? 0.6f : kBits == 4 ? 0.8f : 0.9f;
  constexpr float kHigh = kBits <= 3 ? 1.0f : 1.1f;
  const float factor =
      kLow + (kHigh - kLow) * ((static_cast<float>(trial) + 0.5f) / static_cast<float>(kKvTrials));
  return 1.0f / factor;
}
// The inverse of the grid codebook's step.
template <int kBits>
HLWQ_HD constexpr float kv_normal_scale() {
  return kBits == 2 ? 78.45247f : kBits == 3 ? 50.90545f : kBits == 4 ? 41.85929f : 32.50744f;
}

// Sums over a vector of the products of z, and of its squares, with v + 1/2 of its codes.
struct KvFit {
  float zc = 0, cc = 0;
  // Of |z|^2, that the codes explain.
  [[nodiscard]] HLWQ_HD float explained() const { return zc > 0 ? zc * zc / cc : 0.0f; }
};

// Below this peak a vector counts as zero: no FP16 scale is so small.
inline constexpr float kKvTiny = 0x1p-40f;

// The best fit of a vector with root mean square `rms` and largest magnitude `peak` (both of z).
// try_scale(inverse) returns the KvFit of codes of z * inverse. Returns the inverse to code with.
template <int kBits, typename TryScale>
HLWQ_HD inline float kv_search(float rms, float peak, KvFit& best, TryScale&& try_scale) {
  float best_inverse = kv_normal_scale<kBits>() / rms;
  best = try_scale(best_inverse);
  float most = best.explained();
  const float to_top = (static_cast<float>(kv_grid<kBits>((1 << (kBits - 1)) - 1)) + 0.5f) / peak;
  for (int i = 0; i <= kKvTrials; ++i) {
    if (i == kKvTrials && !(best.zc > 0)) break;
    const float inverse = i < kKvTrials ? kv_inverse_factor<kBits>(i) * to_top : best.cc / best.zc;
    const KvFit fit = try_scale(inverse);
    const float explained = fit.explained();
    if (explained > most) {
      best = fit;
      most = explained;
      best_inverse = inverse;
    }
  }
  return best_inverse;
}

// Values beyond FP16's range count as its largest, as in pages of F16; NaN stays.
HLWQ_HD inline float kv_limited(float v) {
  return v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v;
}
// The scale of a fit, before it is rounded to FP16; `root` is sqrt(head_dim). FP16 holds its
// product with every level, as levels are below 2.
HLWQ_HD inline float kv_scale(const KvFit& fit, float root) {
  const float scale = fit.zc / fit.cc * (1.0f / kKvLevelUnit) / root;
  return scale > 32752.0f ? 32752.0f : scale;
}

// Where the bits of 32 neighbouring codes lie in `bits` words, in groups of 8 codes (group g, place
// n within it), so that a GPU turns nibbles into selectors of a byte permutation:
//   2 bits  word g / 2: code at bits 4n + 2 (g % 2)
//   3 bits  its low two bits as above; word 2: its high bit at 4n + g
//   4 bits  word g: magnitude at 4n .. 4n + 2; the signs (set: below zero) of n < 4 at 8n + 7, of
//           the others at 8 (n - 4) + 3
//   8 bits  word 2g + n / 4: code in byte n % 4
template <int kBits>
HLWQ_HD inline void kv_place(uint32_t (&words)[kBits], int element, int code) {
  const int g = element / 8, n = element % 8;
  const auto bits = static_cast<uint32_t>(code);
  // Words stay in registers where `element` is only known when it runs.
  const auto put = [&](int word, uint32_t set) {
    for (int i = 0; i < kBits; ++i) words[i] |= i == word ? set : 0;
  };
  if constexpr (kBits == 4) {
    const uint32_t below = bits < 8 ? 1 : 0, magnitude = below != 0 ? 7 - bits : bits - 8;
    put(g, magnitude << (4 * n) | below << (n < 4 ? 8 * n + 7 : 8 * (n - 4) + 3));
  } else if constexpr (kBits == 8) {
    put(element / 4, bits << (8 * (element % 4)));
  } else {
    put(g / 2, (bits & 3) << (4 * n + 2 * (g % 2)));
    if constexpr (kBits == 3) words[2] |= (bits >> 2) << (4 * n + g);
  }
}
// The code of an element; word(i) is word i of its unit.
template <int kBits, typename Word>
HLWQ_HD inline int kv_code_at(int element, Word&& word) {
  const int g = element / 8, n = element % 8;
  if constexpr (kBits == 4) {
    const uint32_t bits = word(g);
    const auto magnitude = static_cast<int>((bits >> (4 * n)) & 7);
    const bool below = ((bits >> (n < 4 ? 8 * n + 7 : 8 * (n - 4) + 3)) & 1) != 0;
    return below ? 7 - magnitude : 8 + magnitude;
  } else if constexpr (kBits == 8) {
    return static_cast<int>((word(element / 4) >> (8 * (element % 4))) & 0xff);
  } else {
    uint32_t code = (word(g / 2) >> (4 * n + 2 * (g % 2))) & 3;
    if constexpr (kBits == 3) code |= ((word(2) >> (4 * n + g)) & 1) << 2;
    return static_cast<int>(code);
  }
}

}  // namespace hlwq
