// Sixteen registers of sixteen 32-bit words, transposed.
HLWQ_INLINE void transpose_words(const __m512i (&rows)[16], __m512i* columns) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {  // b[i + c]: word c of each 128-bit lane, rows i..i+3
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512i low01 = _mm512_shuffle_i32x4(b[c], b[c + 4], 0x44);
    const __m512i high01 = _mm512_shuffle_i32x4(b[c], b[c + 4], 0xee);
    const __m512i low23 = _mm512_shuffle_i32x4(b[c + 8], b[c + 12], 0x44);
    const __m512i high23 = _mm512_shuffle_i32x4(b[c + 8], b[c + 12], 0xee);
    columns[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    columns[c + 4] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
    columns[c + 8] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    columns[c + 12] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
  }
}
