// Sixteen dot products of int16 levels with int8 activations: vpmaddwd, exact in int32.

// Sums of the eight lanes of eight registers, in order.
HLWQ_INLINE __m256i sum_eight(const __m256i (&a)[8]) {
  const __m256i low =
      _mm256_hadd_epi32(_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(a[2], a[3]));
  const __m256i high =
      _mm256_hadd_epi32(_mm256_hadd_epi32(a[4], a[5]), _mm256_hadd_epi32(a[6], a[7]));
  return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
                          _mm256_permute2x128_si256(low, high, 0x31));
}

HLWQ_INLINE void dot_rows(const int16_t (&v)[16][kBlock], const int8_t* x, int32_t (&dots)[16]) {
  __m256i wide[8];
  for (int i = 0; i < 8; ++i) {
    wide[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + 16 * i)));
  }
  for (int first = 0; first < 16; first += 8) {
    __m256i sums[8];
    for (int r = 0; r < 8; ++r) {
      const auto* row = reinterpret_cast<const __m256i*>(v[first + r]);
      sums[r] = _mm256_madd_epi16(_mm256_load_si256(row), wide[0]);
      for (int i = 1; i < 8; ++i) {
        sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(_mm256_load_si256(row + i), wide[i]));
      }
    }
    _mm256_store_si256(reinterpret_cast<__m256i*>(dots + first), sum_eight(sums));
  }
}
