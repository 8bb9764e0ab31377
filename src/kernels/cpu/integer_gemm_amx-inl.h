// y = W x with coded weights and int8 activations for several tokens (design D1), AMX int8.
// Math    as integer_gemm-inl.h, on u = v + 128: float(t) = fma(2, float(sum u*xq), -255 sum xq),
//         exact because every one of these integers is below 2^24
// Shapes  narrow coded weights of either layout; rows of x of at most kMostPacked blocks; any rows
// Bytes   the codes once per pass of tokens (192 with 21 blocks); a pass lies in L2, 2.1 KB a block
//         and 16 tokens
// Floor   16 rows x 16 tokens of a block: 32 cycles in the tiles; 64 vector operations beside them,
//         32 cycles too; 16 rows of a block to bytes: 128 vector operations, 64 cycles
// Method  Weights are the first factor of a tile product, so a row's bytes stay as they are
//         decoded; tokens are the second, packed once a task, four bytes of 16 tokens side by
//         side. A phase is 16 rows x 32 tokens x a block. The vector units work between its tile
//         products and the store of its dots: they expand weights that come later and add the dots
//         of two phases ago to the chunk sums, tokens being lanes. No load meets a tile store
//         that still waits for its product: dots alternate between the halves of 4 KB, of which
//         the weights of a phase lie in the other one too (loads are held back by stores that
//         agree in the last 12 bits of the address).

inline constexpr int64_t kMostPacked = 256;  // blocks x 16 tokens of a pass, 544 KiB on the stack
inline constexpr int64_t kMostTiles = 16;    // 16 tokens each, of a pass
inline constexpr int kGroups = 2;            // of 16 rows that share a load of the tokens
inline constexpr int64_t kShortSpan = 1;     // blocks expanded ahead when 32 tokens are all

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

// What a phase leaves to add: 16 rows by one or two tiles of tokens.
struct Unit {
  const float* norms = nullptr;
  const PackedTokens* tokens[2] = {};
  float* sums = nullptr;    // [tile][16 rows][16 tokens]
  float* totals = nullptr;  // the same; null before the last block of a chunk
  int tiles = 0;
};

// One token of block b.
template <class Bytes>
void pack_token(const Product& p, int64_t token, int64_t b, PackedTokens& packed) {
  const int64_t at = p.input_row(token) * p.weights.blocks + b;
  const int8_t* xq = p.xq + at * kBlock;
  __m512i front = _mm512_loadu_si512(xq), back = _mm512_loadu_si512(xq + 64);
  if constexpr (Bytes::kEvenOdd) {
    const __m512i even = _mm512_permutex2var_epi8(front, load_table(kEvenBytes), back);
    back = _mm512_permutex2var_epi8(front, load_table(kOddBytes), back);
    front = even;
  }
  alignas(64) int32_t words[32];
  _mm512_store_si512(words, front);
  _mm512_store_si512(words + 16, back);
  for (int k = 0; k < 32; ++k) {
    _mm512_store_si512(packed.xq + 64 * k, _mm512_zextsi128_si512(_mm_cvtsi32_si128(words[k])));
  }
  store(packed.scale, set1(0.0f));
  store(packed.center, set1(0.0f));
  packed.scale[0] = p.sx[at] * p.weights.factor;
  packed.center[0] = static_cast<float>(-kSumFactor<false> * p.sum[at]);
}

// Tokens [first, first + 16) of block b, those before p.tokens.
template <class Bytes>
void pack_tokens(const Product& p, int64_t first, int64_t b, PackedTokens& packed) {
  if (first + 1 == p.tokens) return pack_token<Bytes>(p, first, b, packed);
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
template <bool EndsChunk>
HLWQ_INLINE void add_tile(const int32_t* dots, const float* norms, const PackedTokens& tokens,
                          float* sums, float* totals) {
  const Lanes scale = load(tokens.scale), center = load(tokens.center), two = set1(2.0f);
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r) {
    const int at = kTileRows * r;
    const Lanes dot = {_mm512_cvtepi32_ps(_mm512_load_si512(dots + at))};
    const Lanes sum = fma(set1(norms[r]) * scale, fma(two, dot, center), load(sums + at));
    if constexpr (EndsChunk) {
      store(totals + at, load(totals + at) + sum);
      store(sums + at, set1(0.0f));
    } else {
      store(sums + at, sum);
    }
  }
}

// Those of tile `i` of the phase's tokens, if it has as many.
HLWQ_INLINE void add_dots(const Unit& unit, int i, const int32_t (*dots)[kTileRows * kTileRows]) {
  if (i >= unit.tiles) return;
  const int at = i * kTileRows * kTileRows;
  if (unit.totals == nullptr) {
    add_tile<false>(dots[i], unit.norms, *unit.tokens[i], unit.sums + at, nullptr);
  } else {
    add_tile<true>(dots[i], unit.norms, *unit.tokens[i], unit.sums + at, unit.totals + at);
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

// Blocks [b, b + count) of the rows from `row` on, expanded while others are multiplied.
struct Span {
  int64_t row = 0, b = 0, count = 0;
  int64_t norms = 0;  // where in the ring those of its first block are
};

template <class Bytes>
class GemmPass {
 public:
  // Tokens [first, first + 16 * tiles) of p, packed.
  GemmPass(const Product& p, const Bytes& bytes, const PackedTokens* packed, int64_t first,
           int64_t tiles)
      : p_(p), bytes_(bytes), packed_(packed), first_(first), tiles_(tiles) {}

  // Rows [begin, end).
  void multiply(int64_t begin, int64_t end) {
    const int64_t pairs = (tiles_ + 1) / 2, blocks = p_.weights.blocks;
    const int64_t most = pairs == 1 ? kShortSpan : kChunkBlocks;
    end_ = end;
    clear(&sums_[0][0][0], sizeof(sums_) / sizeof(float));
    clear(&totals_[0][0][0][0], pairs * static_cast<int64_t>(sizeof(totals_[0]) / sizeof(float)));
    Span now{begin, 0, most < blocks ? most : blocks};
    for (int64_t item = 0; item < now.count * kGroups; ++item) expand(now, item);
    while (now.row < end) {
      const int64_t after = now.b + now.count, left = blocks - after;
      const int64_t ring = now.norms + now.count;
      Span next{now.row, after, most < left ? most : left, ring};
      if (left == 0) {
        next = {now.row + kGroups * kTileRows, 0, most < blocks ? most : blocks, ring};
      }
      if (next.row >= end) next.count = 0;
      for (int64_t pair = 0; pair < pairs; ++pair) {
        const Span& beside = pair + 1 == pairs ? next : Span{};
        if (2 * pair + 2 <= tiles_) {
          multiply_span<2>(now, pair, beside);
        } else {
          multiply_span<1>(now, pair, beside);
        }
      }
      for (int64_t item = now.count * kGroups; item < next.count * kGroups; ++item) {
        expand(next, item);
      }
      if (left == 0) finish(now.row);
      now = next;
    }
  }

 private:
  static void clear(float* values, int64_t count) {
    for (int64_t i = 0; i < count; i += 16) store(values + i, set1(0.0f));
  }

  // Item: 16 rows of a block, in the order of the phases.
  HLWQ_INLINE void expand(const Span& span, int64_t item) {
    const int64_t i = item / kGroups, g = item % kGroups;
    const Bytes bytes = bytes_;  // a copy: the bytes stored could not be a part of it
    expand_rows(p_.weights, bytes, span.row + g * kTileRows, end_, span.b + i, weights_[i][g],
                norms(span, i)[g]);
  }
  Norms* norms(const Span& span, int64_t i) {
    return norms_[(span.norms + i) % (2 * kChunkBlocks)];
  }

  // A span by 16 * Tiles tokens, expanding `beside` in its place.
  template <int Tiles>
  void multiply_span(const Span& span, int64_t pair, const Span& beside) {
    const int64_t blocks = p_.weights.blocks;
    for (int64_t i = 0; i < span.count; ++i) {
      const int64_t b = span.b + i;
      const PackedTokens* tokens = packed_ + 2 * pair * blocks + b;
      const bool ends_chunk = b % kChunkBlocks == kChunkBlocks - 1 || b == blocks - 1;
      tile_fence();
      load_tokens<0>(tokens->xq);
      if constexpr (Tiles == 2) load_tokens<1>(tokens[blocks].xq);
      for (int g = 0; g < kGroups; ++g) {
        tile_fence();
        multiply_tiles<Tiles>(weights_[i][g].u);
        tile_fence();
        // The second half of the products comes in the middle of the vector work.
        const int64_t item = i * kGroups + g;
        const bool expands = item < beside.count * kGroups;
        if (expands) {
          expand(beside, item);
          multiply_more<Tiles>();
        }
        add_dots(units_[turn_], 0, dots_[turn_]);
        if (!expands) multiply_more<Tiles>();
        add_dots(units_[turn_], 1, dots_[turn_]);
        store_dots<Tiles>(dots_[turn_]);
        units_[turn_] = {norms(span, i)[g],
                         {tokens, tokens + blocks},
                         sums_[g][0],
                         ends_chunk ? totals_[pair][g][0] : nullptr,
                         Tiles};
        turn_ ^= 1;
      }
    }
  }

  // Rows from `row` on are complete but for two phases.
  void finish(int64_t row) {
    for (int i = 0; i < 2; ++i, turn_ ^= 1) {
      for (int tile = 0; tile < 2; ++tile) add_dots(units_[turn_], tile, dots_[turn_]);
      units_[turn_].tiles = 0;
    }
    for (int64_t tile = 0; tile < tiles_; ++tile) {
      for (int g = 0; g < kGroups; ++g) {
        float* total = totals_[tile / 2][g][tile % 2];
        const int64_t at = row + g * kTileRows, left = end_ - at;
        if (left > 0) {
          finish_tile(p_, total, at, left < kTileRows ? left : kTileRows,
                      first_ + tile * kTileRows);
        }
        clear(total, kTileRows * kTileRows);
      }
    }
  }

  const Product& p_;
  const Bytes& bytes_;
  const PackedTokens* packed_;
  int64_t first_, tiles_, end_ = 0;
  int turn_ = 0;
  Unit units_[2];  // of the last two phases
  alignas(4096) ExpandedRows weights_[kChunkBlocks][kGroups];
  alignas(4096) int32_t dots_[2][2][kTileRows * kTileRows];
  alignas(64) float sums_[kGroups][2][kTileRows * kTileRows];
  alignas(64) Norms norms_[2 * kChunkBlocks][kGroups];
  alignas(64) float totals_[kMostTiles / 2][kGroups][2][kTileRows * kTileRows];
};

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
    GemmPass<Bytes>(p, bytes, packed, from * kTileRows, to - from).multiply(begin, end);
  }
}
