// Levels of keys and values from their words. Meaning: kv_levels_portable-inl.h.

// Elements [8 group, 8 group + 8) of a unit.
template <int kBits>
HLWQ_INLINE __m256 kv_levels_of_group(const uint32_t* words, int64_t stride, int group,
                                      const float* levels) {
  const auto word = [&](int i) { return _mm256_set1_epi32(static_cast<int>(words[i * stride])); };
  const __m256i places = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  if constexpr (kBits == 8) {
    const __m128i codes = _mm_setr_epi32(static_cast<int>(words[2 * group * stride]),
                                         static_cast<int>(words[(2 * group + 1) * stride]), 0, 0);
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes)),
                           _mm256_set1_ps(1.0f / 64), _mm256_set1_ps(-127.5f / 64));
  } else if constexpr (kBits == 4) {
    const __m256i codes = word(group);
    const __m256 magnitudes =
        _mm256_permutevar8x32_ps(_mm256_loadu_ps(levels), _mm256_srlv_epi32(codes, places));
    const __m256i to_sign = _mm256_setr_epi32(24, 16, 8, 0, 28, 20, 12, 4);
    const __m256i signs = _mm256_and_si256(_mm256_sllv_epi32(codes, to_sign),
                                           _mm256_set1_epi32(static_cast<int>(0x80000000u)));
    return _mm256_xor_ps(magnitudes, _mm256_castsi256_ps(signs));
  } else {
    // A lookup takes the low three bits; the table says the same with and without the third.
    __m256i codes = _mm256_srlv_epi32(word(group / 2),
                                      _mm256_add_epi32(places, _mm256_set1_epi32(2 * (group % 2))));
    if constexpr (kBits == 3) {
      const __m256i high = _mm256_slli_epi32(
          _mm256_srlv_epi32(word(2), _mm256_add_epi32(places, _mm256_set1_epi32(group))), 2);
      codes = _mm256_or_si256(_mm256_and_si256(codes, _mm256_set1_epi32(3)), high);
    }
    return _mm256_permutevar8x32_ps(_mm256_loadu_ps(levels), codes);
  }
}
template <int kBits>
HLWQ_INLINE Lanes kv_levels(const uint32_t* words, int64_t stride, int part, const float* levels) {
  return {kv_levels_of_group<kBits>(words, stride, 2 * part, levels),
          kv_levels_of_group<kBits>(words, stride, 2 * part + 1, levels)};
}
