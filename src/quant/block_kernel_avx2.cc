// Block kernels for AVX2 and FMA: two registers a vector, lookups by gather from the first-level
// cache. Compiled with its own flags (CMakeLists.txt); an empty shell elsewhere.

#include "quant/block_kernel.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

#include "quant/block_kernel-inl.h"
#include "quant/feedback_kernel-inl.h"
#include "quant/product_kernel-inl.h"

namespace hlwq {
namespace {

struct Vector16 {
  __m256 low, high;

  static Vector16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static Vector16 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  void store(float* p) const {
    _mm256_storeu_ps(p, low);
    _mm256_storeu_ps(p + 8, high);
  }
  // (a, b) and its swap (b, a) give (a*1 + b, b*-1 + a): exact products, so one rounding each.
  template <int kStride>
  [[nodiscard]] Vector16 step() const {
    if constexpr (kStride == 8) {
      return {_mm256_add_ps(low, high), _mm256_sub_ps(low, high)};
    } else {
      return {step_register<kStride>(low), step_register<kStride>(high)};
    }
  }
  [[nodiscard]] float sum() const {
    const __m256 s8 = _mm256_add_ps(low, high);
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
  }
  [[nodiscard]] Vector16 magnitude_or(Vector16 other) const {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_max_ps(_mm256_andnot_ps(sign, low), other.low),
            _mm256_max_ps(_mm256_andnot_ps(sign, high), other.high)};
  }
  [[nodiscard]] float largest() const {
    const __m256 m8 = _mm256_max_ps(low, high);
    const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
  }

 private:
  template <int kStride>
  static __m256 step_register(__m256 x) {
    if constexpr (kStride == 1) {
      const __m256 signs = _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1);
      return _mm256_fmadd_ps(x, signs, _mm256_permute_ps(x, 0b10110001));
    } else if constexpr (kStride == 2) {
      const __m256 signs = _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1);
      return _mm256_fmadd_ps(x, signs, _mm256_permute_ps(x, 0b01001110));
    } else {
      const __m256 signs = _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1);
      return _mm256_fmadd_ps(x, signs, _mm256_permute2f128_ps(x, x, 1));
    }
  }
};

inline Vector16 operator+(Vector16 a, Vector16 b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline Vector16 operator-(Vector16 a, Vector16 b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline Vector16 operator*(Vector16 a, Vector16 b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline Vector16 fma(Vector16 a, Vector16 b, Vector16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

struct Codes16 {
  __m256i low, high;
  void store(uint8_t* p) const {
    // The 256-bit pack works in 128-bit halves: words come out as low0 high0 low1 high1.
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0b11011000);
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
  }
};

struct NearestByGather {
  const NearestTable& table;
  __m256 scale, offset, last;
  explicit NearestByGather(const NearestTable& t)
      : table(t),
        scale(_mm256_set1_ps(t.cell_scale)),
        offset(_mm256_set1_ps(t.cell_offset)),
        last(_mm256_set1_ps(static_cast<float>(t.cells - 1))) {}
  [[nodiscard]] Codes16 code(Vector16 z) const {
    return {code_register(z.low), code_register(z.high)};
  }
  [[nodiscard]] Vector16 level(Codes16 codes) const {
    return {_mm256_i32gather_ps(table.level, codes.low, 4),
            _mm256_i32gather_ps(table.level, codes.high, 4)};
  }

 private:
  [[nodiscard]] __m256i code_register(__m256 z) const {
    // max returns its second operand for NaN: cell 0.
    __m256 x = _mm256_max_ps(_mm256_fmadd_ps(z, scale, offset), _mm256_setzero_ps());
    x = _mm256_min_ps(x, last);
    const __m256i cell = _mm256_cvttps_epi32(x);
    const __m256 above = _mm256_cmp_ps(z, _mm256_i32gather_ps(table.bound, cell, 4), _CMP_GT_OQ);
    const __m256i base = _mm256_i32gather_epi32(table.base, cell, 4);
    return _mm256_sub_epi32(base, _mm256_castps_si256(above));
  }
};

struct LevelsByGather {
  const float* level;
  explicit LevelsByGather(const float* levels) : level(levels) {}
  [[nodiscard]] Vector16 of(const uint8_t* codes) const {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes));
    return {_mm256_i32gather_ps(level, _mm256_cvtepu8_epi32(bytes), 4),
            _mm256_i32gather_ps(level, _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)), 4)};
  }
};

void encode(const NearestTable& table, const TrialScales& trials, const float* weights,
            int64_t blocks, uint8_t* codes, BlockSums* sums) {
  if (table.cells == 0)
    return scalar_block_kernels()->encode(table, trials, weights, blocks, codes, sums);
  encode_blocks<Vector16, NearestByGather>(table, trials, weights, blocks, codes, sums);
}

void encode_feedback(const NearestTable& table, const TrialScales& trials,
                     const FeedbackBlock& block, uint8_t* codes, float* scales) {
  if (table.cells == 0)
    return scalar_block_kernels()->encode_feedback(table, trials, block, codes, scales);
  encode_with_feedback<Vector16, NearestByGather>(table, trials, block, codes, scales);
}

constexpr BlockKernels kKernels{"avx2", encode, decode_blocks<Vector16, LevelsByGather>,
                                encode_feedback, add_packed_product<Vector16, 4, 1>};

}  // namespace

const BlockKernels* avx2_block_kernels() { return &kKernels; }

}  // namespace hlwq

#else

namespace hlwq {
const BlockKernels* avx2_block_kernels() { return nullptr; }
}  // namespace hlwq

#endif
