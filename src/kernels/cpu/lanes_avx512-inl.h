// Sixteen FP32 lanes in one 512-bit register. Meaning: lanes_portable-inl.h.

struct Lanes {
  __m512 v;
};
inline constexpr int kLanesInRegisters = 32;

HLWQ_INLINE __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
HLWQ_INLINE Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
HLWQ_INLINE void store(float* p, Lanes a) { _mm512_storeu_ps(p, a.v); }
HLWQ_INLINE Lanes load_first(const float* p, int64_t n) {
  return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
HLWQ_INLINE void store_first(float* p, Lanes a, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), a.v);
}
HLWQ_INLINE Lanes set1(float x) { return {_mm512_set1_ps(x)}; }
HLWQ_INLINE Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
HLWQ_INLINE Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
HLWQ_INLINE Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
HLWQ_INLINE Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
HLWQ_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// max and min return their second operand when one is NaN.
HLWQ_INLINE Lanes at_least(Lanes x, Lanes floor) { return {_mm512_max_ps(floor.v, x.v)}; }
HLWQ_INLINE Lanes at_most(Lanes x, Lanes ceiling) { return {_mm512_min_ps(ceiling.v, x.v)}; }
HLWQ_INLINE Lanes round_even(Lanes a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
HLWQ_INLINE Lanes scale(Lanes a, Lanes n) { return {_mm512_scalef_ps(a.v, n.v)}; }
HLWQ_INLINE float sum_lanes(Lanes a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
HLWQ_INLINE Lanes sum_each(const Lanes (&a)[16]) {
  // Lane 4j + i of the result comes from slot 4i + j of the first step.
  __m512 eight[8], four[4], two[2];
  for (int i = 0; i < 8; ++i) {
    const int s = 2 * i, t = s + 1;
    const __m512 x = a[4 * (s % 4) + s / 4].v, y = a[4 * (t % 4) + t / 4].v;
    eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512 x = eight[2 * i], y = eight[2 * i + 1];
    four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
  }
  for (int i = 0; i < 2; ++i) {
    const __m512 x = four[2 * i], y = four[2 * i + 1];
    two[i] = _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x44), _mm512_shuffle_ps(x, y, 0xee));
  }
  return {_mm512_add_ps(_mm512_shuffle_ps(two[0], two[1], 0x88),
                        _mm512_shuffle_ps(two[0], two[1], 0xdd))};
}
HLWQ_INLINE float largest_lane(Lanes a) { return _mm512_reduce_max_ps(a.v); }
template <int Stride>
HLWQ_INLINE Lanes butterfly_lanes(Lanes x) {
  __m512 other;
  __mmask16 upper;
  if constexpr (Stride == 1) {
    other = _mm512_permute_ps(x.v, 0xb1);
    upper = 0xaaaa;
  } else if constexpr (Stride == 2) {
    other = _mm512_permute_ps(x.v, 0x4e);
    upper = 0xcccc;
  } else if constexpr (Stride == 4) {
    other = _mm512_shuffle_f32x4(x.v, x.v, 0xb1);
    upper = 0xf0f0;
  } else {
    other = _mm512_shuffle_f32x4(x.v, x.v, 0x4e);
    upper = 0xff00;
  }
  // One operation for sums and differences: a product with 1 or -1 is exact.
  const __m512 one = _mm512_set1_ps(1.0f);
  return {_mm512_fmadd_ps(x.v, _mm512_mask_sub_ps(one, upper, _mm512_setzero_ps(), one), other)};
}
HLWQ_INLINE Lanes load_i16(const int16_t* p) {
  return {_mm512_cvtepi32_ps(
      _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))))};
}
HLWQ_INLINE Lanes load_bf16(const uint16_t* p) {
  const __m512i wide =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
HLWQ_INLINE float half_to_float(uint16_t half) { return _cvtsh_ss(half); }
HLWQ_INLINE Lanes load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
HLWQ_INLINE void store_f16(uint16_t* p, Lanes a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
HLWQ_INLINE float largest_magnitude(const Lanes (&z)[8]) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i largest = _mm512_setzero_si512();
  for (const Lanes& x : z) {
    largest = _mm512_max_epi32(largest, _mm512_and_si512(_mm512_castps_si512(x.v), magnitude));
  }
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(largest))));
}
// Quotients by a product with the reciprocal r and two corrections: the first leaves q within one
// unit in the last place, the second then rounds as division does (Markstein), as long as no
// remainder is subnormal. The corrections cost a third of a division.
HLWQ_INLINE int32_t store_quotients_i8(int8_t* p, const float* z, float divisor) {
  const Lanes d = set1(divisor);
  __m512i sum = _mm512_setzero_si512();
  const auto put = [&](int i, Lanes quotient) {
    const __m512i q = _mm512_cvtps_epi32(quotient.v);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 16 * i), _mm512_cvtepi32_epi8(q));
    sum = _mm512_add_epi32(sum, q);
  };
  if (divisor < 0x1p-60f) {
    for (int i = 0; i < 8; ++i) put(i, load(z + 16 * i) / d);
  } else {
    const Lanes r = set1(1.0f / divisor);
    for (int i = 0; i < 8; ++i) {
      const Lanes x = load(z + 16 * i);
      Lanes q = x * r;
      q = fma(Lanes{_mm512_fnmadd_ps(q.v, d.v, x.v)}, r, q);
      q = fma(Lanes{_mm512_fnmadd_ps(q.v, d.v, x.v)}, r, q);
      put(i, q);
    }
  }
  return _mm512_reduce_add_epi32(sum);
}
