// Block kernels for AVX-512 (F, BW, DQ, VL): one register a vector; tables of up to 64 cells and 32
// levels (5 bits and fewer) stay in registers and are looked up by permutes, larger ones by gather.
// Compiled with its own flags (CMakeLists.txt); an empty shell elsewhere.

#include "quant/block_kernel.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#include <immintrin.h>

#include "quant/block_kernel-inl.h"
#include "quant/feedback_kernel-inl.h"
#include "quant/product_kernel-inl.h"

namespace hlwq {
namespace {

struct Vector16 {
  __m512 lanes;

  static Vector16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vector16 set1(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* p) const { _mm512_storeu_ps(p, lanes); }
  // (a, b) and its swap (b, a) give (a*1 + b, b*-1 + a): exact products, so one rounding each.
  template <int kStride>
  [[nodiscard]] Vector16 step() const {
    if constexpr (kStride == 1) {
      const __m512 signs = _mm512_setr_ps(1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1);
      return {_mm512_fmadd_ps(lanes, signs, _mm512_permute_ps(lanes, 0b10110001))};
    } else if constexpr (kStride == 2) {
      const __m512 signs = _mm512_setr_ps(1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1);
      return {_mm512_fmadd_ps(lanes, signs, _mm512_permute_ps(lanes, 0b01001110))};
    } else if constexpr (kStride == 4) {
      const __m512 signs = _mm512_setr_ps(1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1);
      return {_mm512_fmadd_ps(lanes, signs, _mm512_shuffle_f32x4(lanes, lanes, 0b10110001))};
    } else {
      const __m512 signs = _mm512_setr_ps(1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1);
      return {_mm512_fmadd_ps(lanes, signs, _mm512_shuffle_f32x4(lanes, lanes, 0b01001110))};
    }
  }
  [[nodiscard]] float sum() const {
    const __m256 s8 =
        _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
  }
  [[nodiscard]] Vector16 magnitude_or(Vector16 other) const {
    return {_mm512_max_ps(_mm512_abs_ps(lanes), other.lanes)};
  }
  [[nodiscard]] float largest() const { return _mm512_reduce_max_ps(lanes); }
};

inline Vector16 operator+(Vector16 a, Vector16 b) { return {_mm512_add_ps(a.lanes, b.lanes)}; }
inline Vector16 operator-(Vector16 a, Vector16 b) { return {_mm512_sub_ps(a.lanes, b.lanes)}; }
inline Vector16 operator*(Vector16 a, Vector16 b) { return {_mm512_mul_ps(a.lanes, b.lanes)}; }
inline Vector16 fma(Vector16 a, Vector16 b, Vector16 c) {
  return {_mm512_fmadd_ps(a.lanes, b.lanes, c.lanes)};
}

struct Codes16 {
  __m512i lanes;
  void store(uint8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(lanes));
  }
};

// The cell of each lane. max returns its second operand for NaN: cell 0.
inline __m512i cells_of(__m512 z, __m512 scale, __m512 offset, __m512 last) {
  const __m512 x = _mm512_max_ps(_mm512_fmadd_ps(z, scale, offset), _mm512_setzero_ps());
  return _mm512_cvttps_epi32(_mm512_min_ps(x, last));
}

constexpr int kRegisterCells = 64;
constexpr int kRegisterLevels = 32;

struct NearestByPermute {
  __m512 scale, offset, last;
  __m512 bound[4];
  __m512i base[4];
  __m512 levels[2];
  explicit NearestByPermute(const NearestTable& t)
      : scale(_mm512_set1_ps(t.cell_scale)),
        offset(_mm512_set1_ps(t.cell_offset)),
        last(_mm512_set1_ps(static_cast<float>(t.cells - 1))) {
    for (int i = 0; i < 4; ++i) {
      bound[i] = _mm512_load_ps(t.bound + 16 * i);
      base[i] = _mm512_load_si512(t.base + 16 * i);
    }
    for (int i = 0; i < 2; ++i) levels[i] = _mm512_load_ps(t.level + 16 * i);
  }
  [[nodiscard]] Codes16 code(Vector16 z) const {
    const __m512i cell = cells_of(z.lanes, scale, offset, last);
    const __mmask16 upper = _mm512_test_epi32_mask(cell, _mm512_set1_epi32(32));
    const __m512 limit = _mm512_mask_mov_ps(_mm512_permutex2var_ps(bound[0], cell, bound[1]), upper,
                                            _mm512_permutex2var_ps(bound[2], cell, bound[3]));
    const __m512i start =
        _mm512_mask_mov_epi32(_mm512_permutex2var_epi32(base[0], cell, base[1]), upper,
                              _mm512_permutex2var_epi32(base[2], cell, base[3]));
    const __mmask16 above = _mm512_cmp_ps_mask(z.lanes, limit, _CMP_GT_OQ);
    return {_mm512_mask_add_epi32(start, above, start, _mm512_set1_epi32(1))};
  }
  [[nodiscard]] Vector16 level(Codes16 codes) const {
    return {_mm512_permutex2var_ps(levels[0], codes.lanes, levels[1])};
  }
};

struct NearestByGather {
  const NearestTable& table;
  __m512 scale, offset, last;
  explicit NearestByGather(const NearestTable& t)
      : table(t),
        scale(_mm512_set1_ps(t.cell_scale)),
        offset(_mm512_set1_ps(t.cell_offset)),
        last(_mm512_set1_ps(static_cast<float>(t.cells - 1))) {}
  [[nodiscard]] Codes16 code(Vector16 z) const {
    const __m512i cell = cells_of(z.lanes, scale, offset, last);
    const __m512 limit = _mm512_i32gather_ps(cell, table.bound, 4);
    const __m512i start = _mm512_i32gather_epi32(cell, table.base, 4);
    const __mmask16 above = _mm512_cmp_ps_mask(z.lanes, limit, _CMP_GT_OQ);
    return {_mm512_mask_add_epi32(start, above, start, _mm512_set1_epi32(1))};
  }
  [[nodiscard]] Vector16 level(Codes16 codes) const {
    return {_mm512_i32gather_ps(codes.lanes, table.level, 4)};
  }
};

struct LevelsByGather {
  const float* level;
  explicit LevelsByGather(const float* levels) : level(levels) {}
  [[nodiscard]] Vector16 of(const uint8_t* codes) const {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes));
    return {_mm512_i32gather_ps(_mm512_cvtepu8_epi32(bytes), level, 4)};
  }
};

void encode(const NearestTable& table, const TrialScales& trials, const float* weights,
            int64_t blocks, uint8_t* codes, BlockSums* sums) {
  if (table.cells == 0)
    return scalar_block_kernels()->encode(table, trials, weights, blocks, codes, sums);
  if (table.cells <= kRegisterCells && table.level_count <= kRegisterLevels)
    encode_blocks<Vector16, NearestByPermute>(table, trials, weights, blocks, codes, sums);
  else
    encode_blocks<Vector16, NearestByGather>(table, trials, weights, blocks, codes, sums);
}

void encode_feedback(const NearestTable& table, const TrialScales& trials,
                     const FeedbackBlock& block, uint8_t* codes, float* scales) {
  if (table.cells == 0)
    return scalar_block_kernels()->encode_feedback(table, trials, block, codes, scales);
  if (table.cells <= kRegisterCells && table.level_count <= kRegisterLevels)
    encode_with_feedback<Vector16, NearestByPermute>(table, trials, block, codes, scales);
  else
    encode_with_feedback<Vector16, NearestByGather>(table, trials, block, codes, scales);
}

constexpr BlockKernels kKernels{"avx512", encode, decode_blocks<Vector16, LevelsByGather>,
                                encode_feedback, add_packed_product<Vector16, 12, 2>};

}  // namespace

const BlockKernels* avx512_block_kernels() { return &kKernels; }

}  // namespace hlwq

#else

namespace hlwq {
const BlockKernels* avx512_block_kernels() { return nullptr; }
}  // namespace hlwq

#endif
