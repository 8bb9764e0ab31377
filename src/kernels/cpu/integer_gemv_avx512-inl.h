// y = W x for a few tokens, coded weights, integer products (design D1), AVX-512 VNNI +
// VBMI. Math    as integer_gemm-inl.h, on u = v + 128: dot = sum u*xq - 128 sum xq Shapes  groups
// of 8 rows; xq i8 [tokens, blocks*128], sx, sum [tokens, blocks]; any rows Bytes   rows * blocks *
// 82 for kTiled5, rows * blocks * (16 bits + 2) for kPlanes Floor   host memory; kTiled5 takes 15
// vector instructions for a row's block of 82 bytes Method  a row's block in two registers, two
// vpdpbusd a token; the sums of 8 rows are transposed so
//         that rows become lanes for the FP32 part. kTiled5 gives even and odd weights apart, so xq
//         is split once a block for all 8 rows.

// Sums of the sixteen lanes of eight registers, in order.
HLWQ_INLINE __m256i sum_sixteen(const __m512i (&a)[8]) {
  __m512i pairs[4], fours[2];
  for (int i = 0; i < 4; ++i) {
    pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]),
                                _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]));
  }
  for (int i = 0; i < 2; ++i) {
    fours[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]),
                                _mm512_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
  }
  __m256i halves[2];
  for (int i = 0; i < 2; ++i) {
    halves[i] =
        _mm256_add_epi32(_mm512_castsi512_si256(fours[i]), _mm512_extracti64x4_epi64(fours[i], 1));
  }
  return _mm256_add_epi32(_mm256_permute2x128_si256(halves[0], halves[1], 0x20),
                          _mm256_permute2x128_si256(halves[0], halves[1], 0x31));
}

// Rows whose magnitudes are asked for ahead of their use: 4 KiB (Zen 5, 14848 x 2688).
inline constexpr int64_t kPrefetchRows = 64;

// Rows [row, row + 8), those before `end`, for tokens [token, token + Tokens).
template <int Tokens, class Bytes>
void gemv_eight_rows(const Product& p, const Bytes& bytes, int64_t row, int64_t end,
                     int64_t token) {
  const Weights& w = p.weights;
  int64_t input[Tokens];
  for (int t = 0; t < Tokens; ++t) input[t] = p.input_row(token + t) * w.blocks;
  const int64_t rows = end - row < 8 ? end - row : 8;
  __m256 total[Tokens];
  for (int t = 0; t < Tokens; ++t) total[t] = _mm256_setzero_ps();
  for (int64_t b = 0; b < w.blocks;) {
    __m256 chunk[Tokens];
    for (int t = 0; t < Tokens; ++t) chunk[t] = _mm256_setzero_ps();
    const int64_t left = w.blocks - b;
    const int64_t chunk_end = b + (left < kChunkBlocks ? left : kChunkBlocks);
    for (; b < chunk_end; ++b) {
      BytePair x[Tokens];
      for (int t = 0; t < Tokens; ++t) {
        const int8_t* xq = p.xq + (input[t] + b) * kBlock;
        const __m512i first = _mm512_loadu_si512(xq), second = _mm512_loadu_si512(xq + 64);
        if constexpr (Bytes::kEvenOdd) {
          x[t] = {_mm512_permutex2var_epi8(first, load_table(kEvenBytes), second),
                  _mm512_permutex2var_epi8(first, load_table(kOddBytes), second)};
        } else {
          x[t] = {first, second};
        }
      }
      __m512i sums[Tokens][8];
      alignas(16) uint16_t norms[8];
      for (int r = 0; r < 8; ++r) {
        // Rows past the end repeat the last one and are not stored.
        const int64_t at = bytes.record(Bytes::kEvenOdd || r < rows ? row + r : end - 1, b);
        bytes.prefetch(at + kPrefetchRows);
        const BytePair u = bytes.low(at);
        if constexpr (Bytes::kWide) {
          const BytePair high = bytes.high(at);
          for (int t = 0; t < Tokens; ++t) {
            __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), high.a, x[t].a);
            sum = _mm512_slli_epi32(_mm512_dpbusd_epi32(sum, high.b, x[t].b), 8);
            sum = _mm512_dpbusd_epi32(sum, u.a, x[t].a);
            sums[t][r] = _mm512_dpbusd_epi32(sum, u.b, x[t].b);
          }
        } else {
          for (int t = 0; t < Tokens; ++t) {
            const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u.a, x[t].a);
            sums[t][r] = _mm512_dpbusd_epi32(sum, u.b, x[t].b);
          }
        }
        if constexpr (!Bytes::kEvenOdd) norms[r] = w.norms[at];
      }
      const auto* norm_bits = reinterpret_cast<const __m128i*>(
          Bytes::kEvenOdd ? w.norms + bytes.record(row, b) : norms);
      const __m256 norm = _mm256_cvtph_ps(_mm_loadu_si128(norm_bits));
      for (int t = 0; t < Tokens; ++t) {
        const int64_t at = input[t] + b;
        const __m256i dots = sum_sixteen(sums[t]);
        const __m256i centered = _mm256_sub_epi32(
            _mm256_add_epi32(dots, dots), _mm256_set1_epi32(kSumFactor<Bytes::kWide> * p.sum[at]));
        const __m256 scale = _mm256_set1_ps(p.sx[at] * w.factor);
        chunk[t] =
            _mm256_fmadd_ps(_mm256_mul_ps(norm, scale), _mm256_cvtepi32_ps(centered), chunk[t]);
      }
    }
    for (int t = 0; t < Tokens; ++t) total[t] = _mm256_add_ps(total[t], chunk[t]);
  }
  for (int t = 0; t < Tokens; ++t) {
    const auto mask = static_cast<__mmask8>((1u << rows) - 1u);
    float* y = p.y + (token + t) * p.y_stride + row;
    __m256 value = total[t];
    if (p.bias != nullptr) {
      value = _mm256_add_ps(value, _mm256_maskz_loadu_ps(mask, p.bias + row));
    }
    if (p.accumulate) value = _mm256_add_ps(_mm256_maskz_loadu_ps(mask, y), value);
    _mm256_mask_storeu_ps(y, mask, value);
  }
}

// Tokens go three at a time, the most whose sums stay in registers; eight rows stay in L1
// meanwhile.
template <class Bytes>
void integer_gemv(const Product& p, int64_t begin, int64_t end) {
  const Bytes bytes(p.weights);
  for (int64_t row = begin; row < end; row += 8) {
    int64_t token = 0;
    for (; p.tokens - token > 4; token += 3) gemv_eight_rows<3>(p, bytes, row, end, token);
    switch (p.tokens - token) {
      case 1:
        gemv_eight_rows<1>(p, bytes, row, end, token);
        break;
      case 2:
        gemv_eight_rows<2>(p, bytes, row, end, token);
        break;
      case 3:
        gemv_eight_rows<3>(p, bytes, row, end, token);
        break;
      default:
        gemv_eight_rows<2>(p, bytes, row, end, token);
        gemv_eight_rows<2>(p, bytes, row, end, token + 2);
    }
  }
}
