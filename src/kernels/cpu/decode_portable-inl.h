// Codes of one block of one row back to levels, in plain C++. Layouts: quant/layout.h.

class RowDecoder {
 public:
  explicit RowDecoder(const Weights& weights) : w_(weights) {}

  HLWQ_INLINE float norm(int64_t row, int64_t b) const {
    return half_to_float(w_.norms[record(row, b)]);
  }
  // v[code] of the 128 weights.
  void levels(int64_t row, int64_t b, int16_t* v) const {
    if (w_.kind == WeightKind::kTiled5) return tiled5(record(row, b), v);
    planes(record(row, b), v);
  }

 private:
  // Number of a row's block in the order of the layout.
  HLWQ_INLINE int64_t record(int64_t row, int64_t b) const {
    if (w_.kind == WeightKind::kTiled5) return ((row / 8) * w_.blocks + b) * 8 + row % 8;
    return row * w_.blocks + b;
  }
  void tiled5(int64_t at, int16_t* v) const {
    const uint8_t* magnitudes = w_.data + at * 64;
    const uint8_t* signs = w_.signs + at * 16;
    for (int i = 0; i < kBlock; ++i) {
      const int quarter = i / 32, j = i % 32 / 8, n = i % 8;
      const int magnitude = (magnitudes[i / 2] >> (4 * (i % 2))) & 15;
      const int sign = (signs[4 * quarter + n % 4] >> (7 - (2 * j + n / 4))) & 1;
      v[i] = w_.levels[sign != 0 ? 15 - magnitude : 16 + magnitude];
    }
  }
  void planes(int64_t at, int16_t* v) const {
    const uint8_t* planes = w_.data + at * w_.bits * 16;
    for (int i = 0; i < kBlock; ++i) {
      int code = 0;
      for (int p = 0; p < w_.bits; ++p) code |= ((planes[16 * p + i / 8] >> (i % 8)) & 1) << p;
      v[i] = w_.levels[code];
    }
  }

  const Weights& w_;
};
