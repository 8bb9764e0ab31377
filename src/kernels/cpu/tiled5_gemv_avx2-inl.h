// y = W x for one token, 5-bit tiled weights, integer products (design D1, layout D2).
// Math    as integer_gemm-inl.h
// Shapes  tiles of 8 rows; xq i8 [blocks*128], sx, sum [blocks]; any number of rows
// Bytes   rows * blocks * 82
// Floor   host memory; about 35 instructions a row's block
// Method  v from pshufb and a sign mask; |v| (up to 128, unsigned) times sign(xq, v) by vpmaddubsw,
//         whose pairs reach 2*128*127 < 2^15 and so never saturate; 8 rows become lanes

void tiled5_gemv(const Product& p, int64_t begin, int64_t end) {
  const Weights& w = p.weights;
  const Tiled5Decoder decode(w.levels);
  const __m256i split = _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 0, 2,
                                         4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  const __m256i ones = _mm256_set1_epi16(1);
  const int64_t input = p.input_row(0) * w.blocks;
  for (int64_t row = begin; row < end; row += 8) {
    __m256 total = _mm256_setzero_ps();
    for (int64_t b = 0; b < w.blocks;) {
      __m256 chunk = _mm256_setzero_ps();
      const int64_t left = w.blocks - b;
      const int64_t chunk_end = b + (left < kChunkBlocks ? left : kChunkBlocks);
      for (; b < chunk_end; ++b) {
        const auto* x = reinterpret_cast<const __m256i*>(p.xq + (input + b) * kBlock);
        EvenOdd in[2];
        for (int half = 0; half < 2; ++half) {
          // Each 128-bit lane to [even | odd], then both halves of the register likewise.
          const __m256i first = _mm256_permute4x64_epi64(
              _mm256_shuffle_epi8(_mm256_loadu_si256(x + 2 * half), split), 0xd8);
          const __m256i second = _mm256_permute4x64_epi64(
              _mm256_shuffle_epi8(_mm256_loadu_si256(x + 2 * half + 1), split), 0xd8);
          in[half] = {_mm256_permute2x128_si256(first, second, 0x20),
                      _mm256_permute2x128_si256(first, second, 0x31)};
        }
        const int64_t at = (row / 8 * w.blocks + b) * 8;
        __m256i sums[8];
        for (int r = 0; r < 8; ++r) {
          __m256i sum = _mm256_setzero_si256();
          for (int half = 0; half < 2; ++half) {
            const EvenOdd v = decode.half(w.data + (at + r) * 64, w.signs + (at + r) * 16, half);
            const __m256i even = _mm256_maddubs_epi16(_mm256_abs_epi8(v.even),
                                                      _mm256_sign_epi8(in[half].even, v.even));
            const __m256i odd =
                _mm256_maddubs_epi16(_mm256_abs_epi8(v.odd), _mm256_sign_epi8(in[half].odd, v.odd));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, ones));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(odd, ones));
          }
          sums[r] = sum;
        }
        const __m256i dots = sum_eight(sums);
        const __m256i t =
            _mm256_add_epi32(_mm256_add_epi32(dots, dots), _mm256_set1_epi32(p.sum[input + b]));
        const __m256 norms = _mm256_cvtph_ps(load_half_register(w.norms + at));
        const __m256 scale = _mm256_set1_ps(p.sx[input + b] * w.factor);
        chunk = _mm256_fmadd_ps(_mm256_mul_ps(norms, scale), _mm256_cvtepi32_ps(t), chunk);
      }
      total = _mm256_add_ps(total, chunk);
    }
    alignas(32) float y[8];
    _mm256_store_ps(y, total);
    const int64_t rows = end - row < 8 ? end - row : 8;
    for (int64_t r = 0; r < rows; ++r) finish_output(p, 0, row + r, y[r]);
  }
}
