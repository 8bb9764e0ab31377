// Sixteen rows of a block as int16 levels, for instruction sets without byte dot products.
// v in [-32768, 32767], |xq| <= 127: a sum of 128 products stays below 2^30.

class WeightTile {
 public:
  explicit WeightTile(const Weights& weights) : decode_(weights) {}

  // Rows [row, row + rows) of block b; the rest of the sixteen count as zero.
  void expand(int64_t row, int64_t rows, int64_t b) {
    alignas(64) float norms[16] = {};
    for (int64_t r = 0; r < 16; ++r) {
      if (r < rows) {
        decode_.levels(row + r, b, v_[r]);
        norms[r] = decode_.norm(row + r, b);
      } else {
        for (int i = 0; i < kBlock; ++i) v_[r][i] = 0;
      }
    }
    norms_ = load(norms);
  }
  HLWQ_INLINE Lanes norms() const { return norms_; }

  // float(2 sum v*xq + sum xq) of sixteen rows for each token.
  template <int Tokens>
  HLWQ_INLINE void centered_dots(const int8_t* const (&x)[Tokens], const int32_t (&sums)[Tokens],
                                 Lanes (&t)[Tokens]) const {
    for (int i = 0; i < Tokens; ++i) {
      alignas(64) int32_t dots[16];
      dot_rows(v_, x[i], dots);
      alignas(64) float centered[16];
      for (int r = 0; r < 16; ++r) centered[r] = static_cast<float>(2 * dots[r] + sums[i]);
      t[i] = load(centered);
    }
  }

 private:
  RowDecoder decode_;
  alignas(64) int16_t v_[16][kBlock];
  Lanes norms_;
};
