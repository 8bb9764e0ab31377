// Levels of keys and values from their words. Meaning: kv_levels_portable-inl.h.

template <int kBits>
HLWQ_INLINE Lanes kv_levels(const uint32_t* words, int64_t stride, int part, const float* levels) {
  const auto word = [&](int i) { return _mm512_set1_epi32(static_cast<int>(words[i * stride])); };
  const __m512i places =
      _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  constexpr __mmask16 kUpper = 0xff00;
  if constexpr (kBits == 8) {
    const auto at = [&](int i) { return static_cast<int>(words[(4 * part + i) * stride]); };
    const __m128i codes = _mm_setr_epi32(at(0), at(1), at(2), at(3));
    return {_mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes)),
                            _mm512_set1_ps(1.0f / 64), _mm512_set1_ps(-127.5f / 64))};
  } else if constexpr (kBits == 4) {
    const __m512i codes = _mm512_mask_blend_epi32(kUpper, word(2 * part), word(2 * part + 1));
    // A lookup takes the low four bits; the table says the same with and without the fourth.
    const __m512 magnitudes =
        _mm512_permutexvar_ps(_mm512_srlv_epi32(codes, places), _mm512_loadu_ps(levels));
    const __m512i to_sign =
        _mm512_setr_epi32(24, 16, 8, 0, 28, 20, 12, 4, 24, 16, 8, 0, 28, 20, 12, 4);
    return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(
        _mm512_castps_si512(magnitudes), _mm512_sllv_epi32(codes, to_sign),
        _mm512_set1_epi32(static_cast<int>(0x80000000u)), 0x78))};  // a ^ (b & c)
  } else {
    const auto places_of = [&](int lower, int upper) {
      return _mm512_add_epi32(places, _mm512_mask_blend_epi32(kUpper, _mm512_set1_epi32(lower),
                                                              _mm512_set1_epi32(upper)));
    };
    __m512i codes = _mm512_srlv_epi32(word(part), places_of(0, 2));
    if constexpr (kBits == 3) {
      const __m512i high =
          _mm512_slli_epi32(_mm512_srlv_epi32(word(2), places_of(2 * part, 2 * part + 1)), 2);
      codes = _mm512_ternarylogic_epi32(_mm512_set1_epi32(3), codes, high, 0xca);  // a ? b : c
    }
    return {_mm512_permutexvar_ps(codes, _mm512_loadu_ps(levels))};
  }
}
