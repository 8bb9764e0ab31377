// y = W x with coded weights and int8 activations for several tokens (design D1), AMX int8.
// Math    as integer_gemm-inl.h, on u = v + 128: float(t) = fma(2, float(sum u*xq), -255 sum xq),
//         exact because every one of these integers is below 2^24
// Shapes  narrow coded weights of either layout; rows of x of at most kMostPacked blocks; any rows
// Bytes   the codes once per pass of tokens (96 with 21 blocks); a pass lies in L2, 2.1 KB a block
//         and 16 tokens
// Floor   16 rows x 16 tokens of a block: 32 cycles in the tiles; 64 vector operations beside them,
//         32 cycles too; their loads, 48
// Method  Weights are the first factor of a tile product, so a row's bytes stay as they are
//         decoded; tokens are the second, packed once a task, four bytes of 16 tokens side by
//         side. A unit is 16 rows x 16 tokens x a chunk of blocks: its dots go through L1, its
//         chunk sums stay in registers, tokens being lanes. While one unit's dots become sums, the
//         tiles multiply the next one, over the ends of chunks too.

inline constexpr int64_t kMostPacked = 128;  // blocks x 16 tokens of a pass, 272 KiB on the stack
inline constexpr int64_t kMostTiles = 16;    // 16 tokens each, of a pass
inline constexpr int kGroups = 2;            // of 16 rows that share a load of the tokens into L1

// A block of 16 tokens; those that are missing count as zeros.
struct PackedTokens {
  alignas(64) int8_t xq[2 * kTileBytes];
  float scale[kTileRows];   // sx * g
  float center[kTileRows];  // -255 sum xq
};

// A block of 16 rows as u.
struct ExpandedRows {
  alignas(64) uint8_t u[2 * kTileBytes];
};
using Norms = float[kTileRows];

// Sixteen rows by sixteen tokens of a chunk, whose dots are in L1.
struct Unit {
  const int32_t (*dots)[kTileRows * kTileRows] = nullptr;  // of each block
  const Norms* norms = nullptr;
  const PackedTokens* tokens = nullptr;
  float* total = nullptr;  // [16 rows][16 tokens]
  int blocks = 0;
};

// Tokens [first, first + 16) of block b, those before p.tokens.
template <class Bytes>
void pack_tokens(const Product& p, int64_t first, int64_t b, PackedTokens& packed) {
  __m512i halves[2][16];
  for (int i = 0; i < kTileRows; ++i) {
    if (first + i >= p.tokens) {
      halves[0][i] = halves[1][i] = _mm512_setzero_si512();
      packed.scale[i] = packed.center[i] = 0.0f;
      continue;
    }
    const int64_t at = p.input_row(first + i) * p.weights.blocks + b;
    const int8_t* xq = p.xq + at * kBlock;
    const __m512i front = _mm512_loadu_si512(xq), back = _mm512_loadu_si512(xq + 64);
    if constexpr (Bytes::kEvenOdd) {
      halves[0][i] = _mm512_permutex2var_epi8(front, load_table(kEvenBytes), back);
      halves[1][i] = _mm512_permutex2var_epi8(front, load_table(kOddBytes), back);
    } else {
      halves[0][i] = front;
      halves[1][i] = back;
    }
    packed.scale[i] = p.sx[at] * p.weights.factor;
    packed.center[i] = static_cast<float>(-kSumFactor<false> * p.sum[at]);
  }
  for (int half = 0; half < 2; ++half) {
    __m512i words[16];
    transpose_words(halves[half], words);
    for (int k = 0; k < 16; ++k) {
      _mm512_store_si512(packed.xq + half * kTileBytes + 64 * k, words[k]);
    }
  }
}

// Rows [row, row + 16) of block b; those from `end` on repeat the last one.
template <class Bytes>
void expand_rows(const Weights& w, const Bytes& bytes, int64_t row, int64_t end, int64_t b,
                 ExpandedRows& rows, Norms& norms) {
  alignas(32) uint16_t half_norms[kTileRows];
  for (int tile = 0; tile < kTileRows; tile += 8) {
    const int64_t ahead = record_ahead(bytes, w, row + tile, b, kGroups * kTileRows);
    bytes.prefetch_beside(ahead);
    for (int r = tile; r < tile + 8; ++r) {
      const int64_t at = bytes.record(row + r < end ? row + r : end - 1, b);
      bytes.prefetch(ahead + r - tile);
      const BytePair u = bytes.low(at);
      half_norms[r] = w.norms[at];
      _mm512_store_si512(rows.u + 64 * r, u.a);
      _mm512_store_si512(rows.u + kTileBytes + 64 * r, u.b);
    }
  }
  store(norms, load_f16(half_norms));
}

// The dots of one block join the chunk sums of 16 rows; lanes are tokens.
HLWQ_INLINE void add_dots(const int32_t* dots, const Norms& norms, const PackedTokens& tokens,
                          Lanes (&sums)[kTileRows]) {
  const Lanes scale = load(tokens.scale), center = load(tokens.center), two = set1(2.0f);
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
    const Lanes dot = {_mm512_cvtepi32_ps(_mm512_load_si512(dots + kTileRows * r))};
    sums[r] = fma(set1(norms[r]) * scale, fma(two, dot, center), sums[r]);
  }
}

// Multiplies `next` (weights: its rows by block) while the dots of `ready` become sums.
HLWQ_INLINE void multiply_and_add(const Unit& next, const ExpandedRows* weights, const Unit& ready,
                                  int32_t (*next_dots)[kTileRows * kTileRows]) {
  Lanes sums[kTileRows];
  for (Lanes& sum : sums) sum = set1(0.0f);
  for (int b = 0; b < kChunkBlocks; b += 2) {
    if (b < next.blocks) multiply_tiles<0>(weights[b].u, next.tokens[b].xq, next_dots[b]);
    if (b < ready.blocks) add_dots(ready.dots[b], ready.norms[b], ready.tokens[b], sums);
    if (b + 1 < next.blocks) {
      multiply_tiles<1>(weights[b + 1].u, next.tokens[b + 1].xq, next_dots[b + 1]);
    }
    if (b + 1 < ready.blocks) {
      add_dots(ready.dots[b + 1], ready.norms[b + 1], ready.tokens[b + 1], sums);
    }
  }
  if (ready.blocks == 0) return;
  for (int r = 0; r < kTileRows; ++r) {
    float* total = ready.total + kTileRows * r;
    store(total, load(total) + sums[r]);
  }
}

// Rows [row, row + rows) of tokens [token, token + 16), those before p.tokens.
inline void finish_tile(const Product& p, const float* total, int64_t row, int64_t rows,
                        int64_t token) {
  __m512i by_row[16], by_token[16];
  for (int r = 0; r < kTileRows; ++r) by_row[r] = _mm512_load_si512(total + kTileRows * r);
  transpose_words(by_row, by_token);
  for (int i = 0; i < kTileRows && token + i < p.tokens; ++i) {
    float* y = p.y + (token + i) * p.y_stride + row;
    Lanes value = {_mm512_castsi512_ps(by_token[i])};
    if (p.bias != nullptr) value = value + load_first(p.bias + row, rows);
    if (p.accumulate) value = load_first(y, rows) + value;
    store_first(y, value, rows);
  }
}

// Rows [begin, end) of tokens [first, first + 16 * tiles).
template <class Bytes>
void gemm_pass(const Product& p, const Bytes& bytes, const PackedTokens* packed, int64_t first,
               int64_t tiles, int64_t begin, int64_t end) {
  const int64_t blocks = p.weights.blocks;
  ExpandedRows weights[kGroups][kChunkBlocks];
  Norms norms[2][kGroups][kChunkBlocks];  // of this chunk and of the one before
  alignas(64) int32_t dots[2][kChunkBlocks][kTileRows * kTileRows];
  alignas(64) float totals[kMostTiles][kGroups][kTileRows * kTileRows];
  for (int64_t row = begin; row < end; row += kGroups * kTileRows) {
    const int64_t groups = end - row > kTileRows ? kGroups : 1;
    for (int64_t i = 0; i < tiles * kGroups * kTileRows * kTileRows; i += 16) {
      store(&totals[0][0][0] + i, set1(0.0f));
    }
    Unit ready;
    int turn = 0;
    for (int64_t b = 0; b < blocks; b += kChunkBlocks) {
      const int64_t left = blocks - b;
      const int in_chunk = left < kChunkBlocks ? static_cast<int>(left) : kChunkBlocks;
      auto& chunk_norms = norms[b / kChunkBlocks % 2];
      for (int64_t g = 0; g < groups; ++g) {
        for (int i = 0; i < in_chunk; ++i) {
          expand_rows(p.weights, bytes, row + g * kTileRows, end, b + i, weights[g][i],
                      chunk_norms[g][i]);
        }
      }
      before_tile_loads();
      for (int64_t tile = 0; tile < tiles; ++tile) {
        for (int64_t g = 0; g < groups; ++g) {
          const Unit next{dots[turn], chunk_norms[g], packed + tile * blocks + b, totals[tile][g],
                          in_chunk};
          multiply_and_add(next, weights[g], ready, dots[turn]);
          ready = next;
          turn ^= 1;
        }
      }
    }
    multiply_and_add({}, nullptr, ready, nullptr);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t at = row + g * kTileRows;
        finish_tile(p, totals[tile][g], at, end - at < kTileRows ? end - at : kTileRows,
                    first + tile * kTileRows);
      }
    }
  }
}

template <class Bytes>
void integer_gemm_amx(const Product& p, int64_t begin, int64_t end) {
  PackedTokens packed[kMostPacked];
  const Bytes bytes(p.weights);
  const TileScope scope;
  const int64_t blocks = p.weights.blocks;
  const int64_t tiles = (p.tokens + kTileRows - 1) / kTileRows;
  const int64_t room = kMostPacked / blocks < kMostTiles ? kMostPacked / blocks : kMostTiles;
  const int64_t passes = (tiles + room - 1) / room;
  for (int64_t pass = 0; pass < passes; ++pass) {
    const int64_t from = tiles * pass / passes, to = tiles * (pass + 1) / passes;
    for (int64_t tile = from; tile < to; ++tile) {
      for (int64_t b = 0; b < blocks; ++b) {
        pack_tokens<Bytes>(p, tile * kTileRows, b, packed[(tile - from) * blocks + b]);
      }
    }
    gemm_pass(p, bytes, packed, from * kTileRows, to - from, begin, end);
  }
}
