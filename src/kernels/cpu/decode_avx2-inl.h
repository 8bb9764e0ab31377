// Codes of one block of one row back to levels with 256-bit registers. Layouts: quant/layout.h.

// A block of kTiled5 holds weight 2i in the low and 2i+1 in the high nibble of byte i, so a half of
// 64 weights gives its even and its odd weights in two registers of 32 bytes.
struct EvenOdd {
  __m256i even, odd;
};

class Tiled5Decoder {
 public:
  explicit Tiled5Decoder(const int16_t* levels) {
    alignas(16) int8_t table[16];
    for (int i = 0; i < 16; ++i) table[i] = static_cast<int8_t>(levels[16 + i]);
    table_ = _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(table)));
    alignas(32) uint8_t byte[2][32], bit[32];
    for (int i = 0; i < 32; ++i) {
      const int j = i % 16 / 4, m = i % 4;
      byte[0][i] = static_cast<uint8_t>(4 * (i / 16) + 2 * m % 4);
      byte[1][i] = static_cast<uint8_t>(byte[0][i] + 1);
      bit[i] = static_cast<uint8_t>(1 << (7 - (2 * j + m / 2)));
    }
    even_byte_ = _mm256_load_si256(reinterpret_cast<const __m256i*>(byte[0]));
    odd_byte_ = _mm256_load_si256(reinterpret_cast<const __m256i*>(byte[1]));
    bit_ = _mm256_load_si256(reinterpret_cast<const __m256i*>(bit));
  }

  // v of weights [64 * half, 64 * half + 64) as int8.
  HLWQ_INLINE EvenOdd half(const uint8_t* magnitudes, const uint8_t* signs, int half) const {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i codes =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(magnitudes + 32 * half));
    const __m256i sign = _mm256_set1_epi64x(load_i64(signs + 8 * half));
    return {_mm256_xor_si256(_mm256_shuffle_epi8(table_, _mm256_and_si256(codes, nibble)),
                             negative(sign, even_byte_)),
            _mm256_xor_si256(
                _mm256_shuffle_epi8(table_, _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble)),
                negative(sign, odd_byte_))};
  }

 private:
  static HLWQ_INLINE int64_t load_i64(const uint8_t* p) {
    int64_t x;
    __builtin_memcpy(&x, p, 8);
    return x;
  }
  // All ones where the weight's sign bit is set.
  HLWQ_INLINE __m256i negative(__m256i signs, __m256i byte) const {
    return _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(signs, byte), bit_), bit_);
  }
  __m256i table_, even_byte_, odd_byte_, bit_;
};

class RowDecoder {
 public:
  explicit RowDecoder(const Weights& weights) : w_(weights), tiled5_(weights.levels) {}

  HLWQ_INLINE float norm(int64_t row, int64_t b) const {
    return half_to_float(w_.norms[record(row, b)]);
  }
  // v[code] of the 128 weights; v is 32-byte aligned.
  HLWQ_INLINE void levels(int64_t row, int64_t b, int16_t* v) const {
    if (w_.kind == WeightKind::kTiled5) return tiled5(record(row, b), v);
    planes(record(row, b), v);
  }

 private:
  // Number of a row's block in the order of the layout.
  HLWQ_INLINE int64_t record(int64_t row, int64_t b) const {
    if (w_.kind == WeightKind::kTiled5) return ((row / 8) * w_.blocks + b) * 8 + row % 8;
    return row * w_.blocks + b;
  }
  static HLWQ_INLINE void widen(__m128i bytes, int16_t* v) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(v), _mm256_cvtepi8_epi16(bytes));
  }
  HLWQ_INLINE void tiled5(int64_t at, int16_t* v) const {
    for (int half = 0; half < 2; ++half) {
      const EvenOdd w = tiled5_.half(w_.data + at * 64, w_.signs + at * 16, half);
      const __m256i low = _mm256_unpacklo_epi8(w.even, w.odd);
      const __m256i high = _mm256_unpackhi_epi8(w.even, w.odd);
      widen(_mm256_castsi256_si128(low), v + 64 * half);
      widen(_mm256_castsi256_si128(high), v + 64 * half + 16);
      widen(_mm256_extracti128_si256(low, 1), v + 64 * half + 32);
      widen(_mm256_extracti128_si256(high, 1), v + 64 * half + 48);
    }
  }
  void planes(int64_t at, int16_t* v) const {
    const uint8_t* planes = w_.data + at * w_.bits * 16;
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                            2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201ull));
    for (int first = 0; first < kBlock; first += 32) {
      __m256i codes = _mm256_setzero_si256();
      for (int p = 0; p < w_.bits; ++p) {
        int32_t word;
        __builtin_memcpy(&word, planes + 16 * p + first / 8, 4);
        const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(word), spread);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
        codes = _mm256_or_si256(codes,
                                _mm256_and_si256(set, _mm256_set1_epi8(static_cast<char>(1 << p))));
      }
      alignas(32) uint8_t code[32];
      _mm256_store_si256(reinterpret_cast<__m256i*>(code), codes);
      for (int i = 0; i < 32; ++i) v[first + i] = w_.levels[code[i]];
    }
  }

  const Weights& w_;
  Tiled5Decoder tiled5_;
};
