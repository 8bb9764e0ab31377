// y = W x with coded weights decoded to their levels and FP32 rotated activations: no int8
// rounding. Math    y[t][r] = sum_b (norm[r][b] * g) * sum_i (2 v[code] + 1) * xr[t][b][i], g =
// step / 256 Shapes  coded weights of either layout; xr [tokens, blocks*128] FP32, unnormalized
// rotation Bytes   as the integer product, plus 512 a block and token Method  a block of 4 rows
// decoded to FP32 in L1, then fma with every token. It is the measure of
//         the integer product, not a fast path.

inline constexpr int kExactRows = 4;
inline constexpr int64_t kExactTokens = 64;

void exact_product(const Product& p, int64_t begin, int64_t end) {
  const Weights& w = p.weights;
  const RowDecoder decode(w);
  for (int64_t row = begin; row < end; row += kExactRows) {
    const int64_t rows = end - row < kExactRows ? end - row : kExactRows;
    for (int64_t first = 0; first < p.tokens; first += kExactTokens) {
      const int64_t tokens = p.tokens - first < kExactTokens ? p.tokens - first : kExactTokens;
      float totals[kExactTokens][kExactRows] = {};
      for (int64_t b = 0; b < w.blocks; ++b) {
        alignas(64) float odd[kExactRows][kBlock];
        float scale[kExactRows];
        for (int64_t r = 0; r < rows; ++r) {
          alignas(64) int16_t v[kBlock];
          decode.levels(row + r, b, v);
          for (int i = 0; i < kBlock; i += 16) {
            store(odd[r] + i, fma(set1(2.0f), load_i16(v + i), set1(1.0f)));
          }
          scale[r] = decode.norm(row + r, b) * w.factor;
        }
        for (int64_t t = 0; t < tokens; ++t) {
          const float* x = p.x + p.input_row(first + t) * p.x_stride + b * kBlock;
          for (int64_t r = 0; r < rows; ++r) {
            Lanes sum = set1(0.0f);
            for (int i = 0; i < kBlock; i += 16) sum = fma(load(odd[r] + i), load(x + i), sum);
            totals[t][r] = __builtin_fmaf(scale[r], sum_lanes(sum), totals[t][r]);
          }
        }
      }
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < rows; ++r) finish_output(p, first + t, row + r, totals[t][r]);
      }
    }
  }
}
