// y = W x with coded weights and int8 activations for several tokens (design D1).
// Math    y[t][r] = sum_b fma(norm[r][b] * (sx[t][b] * g), float(2 dot + sum), .), order as in D1
// Shapes  coded weights of either layout; xq i8 [tokens, blocks*128], sx, sum [tokens, blocks]
// Bytes   the codes once per kGemmTokens tokens
// Method  16 rows at a time: a block is expanded once into L1 by the instruction set's Tile
//         and multiplied with every token; chunk and total sums of a token are 16 lanes in L1

inline constexpr int64_t kGemmTokens = 128;  // two sums and xq of a block: 32 KiB of L1

// One block for Tokens tokens from `first` on: their products join the chunk sums.
template <int Tokens, class Tile>
HLWQ_INLINE void add_tokens(const Product& p, const Tile& tile, int64_t b, int64_t first,
                            float* chunk) {
  const int8_t* x[Tokens];
  int32_t sums[Tokens];
  Lanes scales[Tokens], t[Tokens];
  for (int i = 0; i < Tokens; ++i) {
    const int64_t at = p.input_row(first + i) * p.weights.blocks + b;
    x[i] = p.xq + at * kBlock;
    sums[i] = p.sum[at];
    scales[i] = set1(p.sx[at] * p.weights.factor);
  }
  tile.template centered_dots<Tokens>(x, sums, t);
  for (int i = 0; i < Tokens; ++i) {
    store(chunk + 16 * i, fma(tile.norms() * scales[i], t[i], load(chunk + 16 * i)));
  }
}

template <class Tile>
void integer_gemm(const Product& p, int64_t begin, int64_t end) {
  Tile tile(p.weights);
  alignas(64) float chunk[kGemmTokens * 16], total[kGemmTokens * 16];
  for (int64_t row = begin; row < end; row += 16) {
    const int64_t rows = end - row < 16 ? end - row : 16;
    for (int64_t first = 0; first < p.tokens; first += kGemmTokens) {
      const int64_t tokens = p.tokens - first < kGemmTokens ? p.tokens - first : kGemmTokens;
      for (int64_t i = 0; i < tokens * 16; ++i) total[i] = 0.0f;
      for (int64_t b = 0; b < p.weights.blocks;) {
        for (int64_t i = 0; i < tokens * 16; ++i) chunk[i] = 0.0f;
        const int64_t left = p.weights.blocks - b;
        const int64_t chunk_end = b + (left < kChunkBlocks ? left : kChunkBlocks);
        for (; b < chunk_end; ++b) {
          tile.expand(row, rows, b);
          int64_t t = 0;
          for (; t + 8 <= tokens; t += 8) add_tokens<8>(p, tile, b, first + t, chunk + 16 * t);
          for (; t + 2 <= tokens; t += 2) add_tokens<2>(p, tile, b, first + t, chunk + 16 * t);
          for (; t < tokens; ++t) add_tokens<1>(p, tile, b, first + t, chunk + 16 * t);
        }
        for (int64_t i = 0; i < tokens * 16; i += 16) {
          store(total + i, load(total + i) + load(chunk + i));
        }
      }
      for (int64_t t = 0; t < tokens; ++t) {
        float* y = p.y + (first + t) * p.y_stride + row;
        Lanes value = load(total + 16 * t);
        if (p.bias != nullptr) value = value + load_first(p.bias + row, rows);
        if (p.accumulate) value = load_first(y, rows) + value;
        store_first(y, value, rows);
      }
    }
  }
}
