// Sixteen rows of a block as bytes v + 128 for vpdpbusd, one row a 32-bit lane: register g holds
// four neighbouring weights of each row, and a token's four activations are one broadcast, so no
// sum over lanes is left at the end.

// Activations of register g of ByteTile, bytes from the start of the block; four registers on from
// a multiple of four take neighbouring words. Rows are interleaved within 128-bit lanes: registers
// 0..15 hold the first, 16..31 the second 16 weights of a quarter (kTiled5), or the first and
// second half of the block (kPlanes).
template <bool EvenOdd>
constexpr int group_offset(int g) {
  return EvenOdd ? 32 * (g % 16 / 4) + 16 * (g / 16) + 4 * (g % 4) : 4 * g;
}

template <class Bytes>
class ByteTile {
 public:
  explicit ByteTile(const Weights& weights) : w_(weights), bytes_(weights) {}

  // Rows [row, row + rows) of block b; the rest of the sixteen repeat the last one.
  void expand(int64_t row, int64_t rows, int64_t b) {
    alignas(32) uint16_t norms[16];
    __m512i low[2][16], high[2][16];
    for (int tile = 0; tile < 16; tile += 8) {
      const int64_t ahead = record_ahead(bytes_, w_, row + tile, b, 16);
      bytes_.prefetch_beside(ahead);
      for (int r = tile; r < tile + 8; ++r) {
        const int64_t at = bytes_.record(r < rows ? row + r : row + rows - 1, b);
        bytes_.prefetch(ahead + r - tile);
        norms[r] = w_.norms[at];
        in_order(bytes_.low(at), low[0][r], low[1][r]);
        if constexpr (Bytes::kWide) in_order(bytes_.high(at), high[0][r], high[1][r]);
      }
    }
    for (int half = 0; half < 2; ++half) {
      transpose_words(low[half], low_ + 16 * half);
      if constexpr (Bytes::kWide) transpose_words(high[half], high_ + 16 * half);
    }
    norms_ = load_f16(norms);
  }
  HLWQ_INLINE Lanes norms() const { return norms_; }

  // float(2 sum v*xq + sum xq) of sixteen rows for each token.
  template <int Tokens>
  HLWQ_INLINE void centered_dots(const int8_t* const (&x)[Tokens], const int32_t (&sums)[Tokens],
                                 Lanes (&t)[Tokens]) const {
    __m512i dots[Tokens];
    for (int i = 0; i < Tokens; ++i) dots[i] = _mm512_setzero_si512();
    if constexpr (Bytes::kWide) {
      accumulate<Tokens>(high_, x, dots);
      for (int i = 0; i < Tokens; ++i) dots[i] = _mm512_slli_epi32(dots[i], 8);
    }
    accumulate<Tokens>(low_, x, dots);
    for (int i = 0; i < Tokens; ++i) {
      const __m512i centered =
          _mm512_sub_epi32(_mm512_add_epi32(dots[i], dots[i]),
                           _mm512_set1_epi32(kSumFactor<Bytes::kWide> * sums[i]));
      t[i] = {_mm512_cvtepi32_ps(centered)};
    }
  }

 private:
  static HLWQ_INLINE void in_order(BytePair u, __m512i& first, __m512i& second) {
    if constexpr (Bytes::kEvenOdd) {
      first = _mm512_unpacklo_epi8(u.a, u.b);
      second = _mm512_unpackhi_epi8(u.a, u.b);
    } else {
      first = u.a;
      second = u.b;
    }
  }
  template <int Tokens>
  static HLWQ_INLINE void accumulate(const __m512i* weights, const int8_t* const (&x)[Tokens],
                                     __m512i (&dots)[Tokens]) {
    // Kept as a loop: unrolled, the compiler holds weights in registers and spills the sums.
    for (int first = 0; first < 32; first += 4) {
      const int offset = group_offset<Bytes::kEvenOdd>(first);
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) {
        const __m512i w = weights[first + g];
        for (int i = 0; i < Tokens; ++i) {
          int32_t four;
          __builtin_memcpy(&four, x[i] + offset + 4 * g, 4);
          dots[i] = _mm512_dpbusd_epi32(dots[i], w, _mm512_set1_epi32(four));
        }
      }
    }
  }

  const Weights& w_;
  Bytes bytes_;
  alignas(64) __m512i low_[32], high_[Bytes::kWide ? 32 : 1];
  Lanes norms_;
};
