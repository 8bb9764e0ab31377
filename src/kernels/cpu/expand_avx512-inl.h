// Codes of one block of one row to 128 unsigned bytes v + 128, in two registers (AVX-512 VBMI).
// Layouts: quant/layout.h. Levels of 16 bits come as two such pairs: v + 32768 = 256 high + low.

struct BytePair {
  __m512i a, b;  // kTiled5: even and odd weights; kPlanes: weights 0..63 and 64..127
};

// Bytes of a register that VBMI control words index with, built at compile time.
struct ByteTable {
  alignas(64) uint8_t v[64];
};

// For byte i of a block's magnitudes (weights 2i and 2i+1): by how much to rotate the quarter's
// sign word, repeated in each 64-bit lane, so that the weight's sign comes to bit 4.
constexpr ByteTable sign_rotations(int odd) {
  ByteTable table{};
  for (int i = 0; i < 64; ++i) {
    const int j = i % 16 / 4, n = 2 * (i % 4) + odd;
    const int bit = 8 * (n % 4) + 7 - (2 * j + n / 4);
    table.v[i] = static_cast<uint8_t>((bit - 4) & 63);
  }
  return table;
}
inline constexpr ByteTable kEvenSigns = sign_rotations(0);
inline constexpr ByteTable kOddSigns = sign_rotations(1);

// Every second byte of two registers.
constexpr ByteTable every_second(int first) {
  ByteTable table{};
  for (int i = 0; i < 64; ++i) table.v[i] = static_cast<uint8_t>(2 * i + first);
  return table;
}
inline constexpr ByteTable kEvenBytes = every_second(0);
inline constexpr ByteTable kOddBytes = every_second(1);

HLWQ_INLINE __m512i load_table(const ByteTable& table) { return _mm512_load_si512(table.v); }

// v + bias of 32 levels from `levels` on, the byte that starts at bit `shift`.
HLWQ_INLINE __m256i level_bytes(const int16_t* levels, int bias, int shift) {
  const __m512i v =
      _mm512_add_epi16(_mm512_loadu_si512(levels), _mm512_set1_epi16(static_cast<int16_t>(bias)));
  return _mm512_cvtepi16_epi8(_mm512_srl_epi16(v, _mm_cvtsi32_si128(shift)));
}

// 5 bits, symmetric: one 64-byte load of magnitudes, a byte permute over [sign | magnitude].
class Tiled5Bytes {
 public:
  static constexpr bool kWide = false;
  static constexpr bool kEvenOdd = true;

  explicit Tiled5Bytes(const Weights& w) : w_(w) {
    // Entry m is code 16 + m, entry 16 + m is code 15 - m; bit 5 of an index is noise, so twice.
    const __m128i positive = _mm256_extracti128_si256(level_bytes(w.levels, 128, 0), 1);
    const __m128i ones = _mm_set1_epi8(-1);
    const __m256i both = _mm256_set_m128i(_mm_xor_si128(positive, ones), positive);
    table_ = _mm512_broadcast_i64x4(both);
    even_ = load_table(kEvenSigns);
    odd_ = load_table(kOddSigns);
    quarter_ = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  }
  HLWQ_INLINE int64_t record(int64_t row, int64_t b) const {
    return (row / 8 * w_.blocks + b) * 8 + row % 8;
  }
  HLWQ_INLINE BytePair low(int64_t at) const {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i magnitudes = _mm512_loadu_si512(w_.data + at * 64);
    const __m512i signs = _mm512_permutexvar_epi32(
        quarter_, _mm512_castsi128_si512(
                      _mm_loadu_si128(reinterpret_cast<const __m128i*>(w_.signs + at * 16))));
    // (nibble mask & magnitude) | (~mask & sign at bit 4): truth table 0xca of (mask, m, s).
    const __m512i even = _mm512_ternarylogic_epi64(
        nibble, magnitudes, _mm512_multishift_epi64_epi8(even_, signs), 0xca);
    const __m512i odd = _mm512_ternarylogic_epi64(nibble, _mm512_srli_epi16(magnitudes, 4),
                                                  _mm512_multishift_epi64_epi8(odd_, signs), 0xca);
    return {_mm512_permutexvar_epi8(even, table_), _mm512_permutexvar_epi8(odd, table_)};
  }
  HLWQ_INLINE BytePair high(int64_t at) const { return low(at); }  // narrow: not asked for
  HLWQ_INLINE void prefetch(int64_t at) const {
    _mm_prefetch(reinterpret_cast<const char*>(w_.data + at * 64), _MM_HINT_T0);
  }
  // The signs and norms of eight rows.
  HLWQ_INLINE void prefetch_beside(int64_t at) const {
    const auto* signs = reinterpret_cast<const char*>(w_.signs + at * 16);
    _mm_prefetch(signs, _MM_HINT_T0);
    _mm_prefetch(signs + 64, _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(w_.norms + at), _MM_HINT_T0);
  }

 private:
  const Weights& w_;
  __m512i table_, even_, odd_, quarter_;
};

// Any table of 2..8 bits: a plane of 16 bytes is the mask of a bit, the table a byte permute.
template <bool Wide>
class PlaneBytes {
 public:
  static constexpr bool kWide = Wide;
  static constexpr bool kEvenOdd = false;

  explicit PlaneBytes(const Weights& w) : w_(w) {
    for (int i = 0; i < 4; ++i) {
      low_[i] = table(i, Wide ? 32768 : 128, 0);
      high_[i] = table(i, 32768, 8);
    }
  }
  HLWQ_INLINE int64_t record(int64_t row, int64_t b) const { return row * w_.blocks + b; }
  HLWQ_INLINE BytePair low(int64_t at) const {
    const BytePair codes = unpack(at);
    return {look_up(low_, codes.a), look_up(low_, codes.b)};
  }
  HLWQ_INLINE BytePair high(int64_t at) const {
    const BytePair codes = unpack(at);
    return {look_up(high_, codes.a), look_up(high_, codes.b)};
  }
  HLWQ_INLINE void prefetch(int64_t) const {}
  HLWQ_INLINE void prefetch_beside(int64_t) const {}

 private:
  __m512i table(int i, int bias, int shift) const {
    return _mm512_inserti64x4(_mm512_castsi256_si512(level_bytes(w_.levels + 64 * i, bias, shift)),
                              level_bytes(w_.levels + 64 * i + 32, bias, shift), 1);
  }
  HLWQ_INLINE BytePair unpack(int64_t at) const {
    const uint8_t* planes = w_.data + at * w_.bits * 16;
    BytePair codes{_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int p = 0; p < w_.bits; ++p) {
      uint64_t mask[2];
      __builtin_memcpy(mask, planes + 16 * p, 16);
      const __m512i bit = _mm512_set1_epi8(static_cast<char>(1 << p));
      codes.a = _mm512_mask_add_epi8(codes.a, mask[0], codes.a, bit);
      codes.b = _mm512_mask_add_epi8(codes.b, mask[1], codes.b, bit);
    }
    return codes;
  }
  HLWQ_INLINE __m512i look_up(const __m512i (&t)[4], __m512i codes) const {
    if (w_.bits <= 6) return _mm512_permutexvar_epi8(codes, t[0]);
    const __m512i lower = _mm512_permutex2var_epi8(t[0], codes, t[1]);
    if (w_.bits == 7) return lower;
    const __m512i upper = _mm512_permutex2var_epi8(t[2], codes, t[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), lower, upper);
  }
  const Weights& w_;
  __m512i low_[4], high_[4];
};

// 2 sum v*xq + sum xq from the sum of unsigned bytes: 2 (u - bias * sum) + sum.
template <bool Wide>
inline constexpr int32_t kSumFactor = Wide ? 2 * 32768 - 1 : 2 * 128 - 1;

// Where memory is asked for while block b of rows [row, row + 8) is expanded: the same rows
// kBlocksAhead on or, after their last block, those of the next step of `step` rows.
inline constexpr int64_t kBlocksAhead = 4;
template <class Bytes>
HLWQ_INLINE int64_t record_ahead(const Bytes& bytes, const Weights& w, int64_t row, int64_t b,
                                 int64_t step) {
  const int64_t ahead = b + kBlocksAhead;
  return ahead < w.blocks ? bytes.record(row, ahead) : bytes.record(row + step, ahead - w.blocks);
}
