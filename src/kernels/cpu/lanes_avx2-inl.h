// Sixteen FP32 lanes in two 256-bit registers. Meaning: lanes_portable-inl.h.

struct Lanes {
  __m256 a, b;  // lanes 0..7, 8..15
};
inline constexpr int kLanesInRegisters = 8;

HLWQ_INLINE __m256i first_lanes(int64_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
}
HLWQ_INLINE Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
HLWQ_INLINE void store(float* p, Lanes x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
HLWQ_INLINE Lanes load_first(const float* p, int64_t n) {
  return {_mm256_maskload_ps(p, first_lanes(n)), _mm256_maskload_ps(p + 8, first_lanes(n - 8))};
}
HLWQ_INLINE void store_first(float* p, Lanes x, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), x.a);
  _mm256_maskstore_ps(p + 8, first_lanes(n - 8), x.b);
}
HLWQ_INLINE Lanes set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
HLWQ_INLINE Lanes operator+(Lanes x, Lanes y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
HLWQ_INLINE Lanes operator-(Lanes x, Lanes y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
HLWQ_INLINE Lanes operator*(Lanes x, Lanes y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
HLWQ_INLINE Lanes operator/(Lanes x, Lanes y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
HLWQ_INLINE Lanes fma(Lanes x, Lanes y, Lanes z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
// max and min return their second operand when one is NaN.
HLWQ_INLINE Lanes at_least(Lanes x, Lanes floor) {
  return {_mm256_max_ps(floor.a, x.a), _mm256_max_ps(floor.b, x.b)};
}
HLWQ_INLINE Lanes at_most(Lanes x, Lanes ceiling) {
  return {_mm256_min_ps(ceiling.a, x.a), _mm256_min_ps(ceiling.b, x.b)};
}
HLWQ_INLINE Lanes round_even(Lanes x) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.a, kMode), _mm256_round_ps(x.b, kMode)};
}
HLWQ_INLINE __m256 power_of_two(__m256 n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
HLWQ_INLINE __m256 scale(__m256 a, __m256 n) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  const __m256 half = _mm256_round_ps(_mm256_mul_ps(n, _mm256_set1_ps(0.5f)), kMode);
  return _mm256_mul_ps(_mm256_mul_ps(a, power_of_two(half)), power_of_two(_mm256_sub_ps(n, half)));
}
HLWQ_INLINE Lanes scale(Lanes x, Lanes n) { return {scale(x.a, n.a), scale(x.b, n.b)}; }
HLWQ_INLINE float sum_lanes(Lanes x) {
  const __m256 eight = _mm256_add_ps(x.a, x.b);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// Lanes i < 8 are the sums of a[i], in the tree of sum_lanes.
HLWQ_INLINE __m256 sum_each_of_eight(const Lanes* a) {
  // Lane 4j + i of the result comes from slot 2i + j of the first step.
  __m256 four[4], two[2];
  for (int i = 0; i < 4; ++i) {
    const __m256 x = _mm256_add_ps(a[i].a, a[i].b), y = _mm256_add_ps(a[4 + i].a, a[4 + i].b);
    four[i] = _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
  }
  for (int i = 0; i < 2; ++i) {
    const __m256 x = four[2 * i], y = four[2 * i + 1];
    two[i] = _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xee));
  }
  return _mm256_add_ps(_mm256_shuffle_ps(two[0], two[1], 0x88),
                       _mm256_shuffle_ps(two[0], two[1], 0xdd));
}
HLWQ_INLINE Lanes sum_each(const Lanes (&a)[16]) {
  return {sum_each_of_eight(a), sum_each_of_eight(a + 8)};
}
HLWQ_INLINE float largest_lane(Lanes x) {
  const __m256 eight = _mm256_max_ps(x.a, x.b);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
template <int Stride>
HLWQ_INLINE __m256 butterfly_lanes(__m256 x) {
  if constexpr (Stride == 1) {
    const __m256 other = _mm256_permute_ps(x, 0xb1);
    return _mm256_blend_ps(_mm256_add_ps(x, other), _mm256_sub_ps(other, x), 0xaa);
  } else if constexpr (Stride == 2) {
    const __m256 other = _mm256_permute_ps(x, 0x4e);
    return _mm256_blend_ps(_mm256_add_ps(x, other), _mm256_sub_ps(other, x), 0xcc);
  } else {
    const __m256 other = _mm256_permute2f128_ps(x, x, 0x01);
    return _mm256_blend_ps(_mm256_add_ps(x, other), _mm256_sub_ps(other, x), 0xf0);
  }
}
template <int Stride>
HLWQ_INLINE Lanes butterfly_lanes(Lanes x) {
  if constexpr (Stride == 8) {
    return {_mm256_add_ps(x.a, x.b), _mm256_sub_ps(x.a, x.b)};
  } else {
    return {butterfly_lanes<Stride>(x.a), butterfly_lanes<Stride>(x.b)};
  }
}
HLWQ_INLINE __m128i load_half_register(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
HLWQ_INLINE Lanes load_i16(const int16_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(load_half_register(p))),
          _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(load_half_register(p + 8)))};
}
HLWQ_INLINE __m256 load_bf16_half(const uint16_t* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(load_half_register(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
HLWQ_INLINE Lanes load_bf16(const uint16_t* p) {
  return {load_bf16_half(p), load_bf16_half(p + 8)};
}
HLWQ_INLINE float half_to_float(uint16_t half) { return _cvtsh_ss(half); }
HLWQ_INLINE Lanes load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(load_half_register(p)), _mm256_cvtph_ps(load_half_register(p + 8))};
}
HLWQ_INLINE void store_f16(uint16_t* p, Lanes x) {
  auto* out = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(out, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(out + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
HLWQ_INLINE int32_t sum_i32(__m256i x) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
HLWQ_INLINE float largest_magnitude(const Lanes (&z)[8]) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  for (const Lanes& x : z) {
    largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(x.a), magnitude));
    largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(x.b), magnitude));
  }
  __m128i most =
      _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1))));
}
HLWQ_INLINE int32_t store_quotients_i8(int8_t* p, const float* z, float divisor) {
  __m256i sum = _mm256_setzero_si256();
  for (int i = 0; i < 8; ++i) {
    const Lanes quotient = load(z + 16 * i) / set1(divisor);
    const __m256i a = _mm256_cvtps_epi32(quotient.a), b = _mm256_cvtps_epi32(quotient.b);
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    const __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16 * i), bytes);
    sum = _mm256_add_epi32(sum, _mm256_add_epi32(a, b));
  }
  return sum_i32(sum);
}
