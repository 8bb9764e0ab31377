// y = W x with plain weights (F32, F16, BF16) for one or more tokens.
// Math    y[t][r] = sum over 16 lanes of fma in ascending columns, reduced in the tree of sum_lanes
// Shapes  any rows, cols, tokens; rows of W and x contiguous
// Bytes   rows*cols*(2 or 4) once per four tokens
// Floor   one token: memory; many: one fma of 16 lanes per 16 products
// Method  a register tile of 4 rows x 4 tokens, so that each load serves four fma; 512 columns of
//         the rows stay in L1 while 32 tokens pass; one token: 16 or 8 rows

HLWQ_INLINE void finish_output(const Product& p, int64_t t, int64_t r, float value) {
  float* y = p.y + t * p.y_stride + r;
  if (p.bias != nullptr) value = value + p.bias[r];
  *y = p.accumulate ? *y + value : value;
}

template <WeightKind Kind>
HLWQ_INLINE Lanes load_weights(const uint8_t* row, int64_t i) {
  if constexpr (Kind == WeightKind::kF32) {
    return load(reinterpret_cast<const float*>(row) + i);
  } else if constexpr (Kind == WeightKind::kF16) {
    return load_f16(reinterpret_cast<const uint16_t*>(row) + i);
  } else {
    return load_bf16(reinterpret_cast<const uint16_t*>(row) + i);
  }
}

// The last n < 16 weights of a row, zeros after them.
template <WeightKind Kind>
HLWQ_INLINE Lanes load_weights_first(const uint8_t* row, int64_t i, int64_t n) {
  if constexpr (Kind == WeightKind::kF32) {
    return load_first(reinterpret_cast<const float*>(row) + i, n);
  } else {
    uint16_t tail[16] = {};
    const auto* from = reinterpret_cast<const uint16_t*>(row) + i;
    for (int64_t j = 0; j < n; ++j) tail[j] = from[j];
    return load_weights<Kind>(reinterpret_cast<const uint8_t*>(tail), 0);
  }
}

// Columns [begin, end) of a tile of Rows x Tokens.
template <WeightKind Kind, int Rows, int Tokens>
HLWQ_INLINE void add_columns(const Product& p, int64_t row, int64_t token, int64_t begin,
                             int64_t end, Lanes (&sums)[Rows][Tokens]) {
  constexpr int64_t kBytes = Kind == WeightKind::kF32 ? 4 : 2;
  const int64_t cols = p.weights.cols;
  const uint8_t* w[Rows];
  const float* x[Tokens];
  for (int r = 0; r < Rows; ++r) w[r] = p.weights.data + (row + r) * cols * kBytes;
  for (int t = 0; t < Tokens; ++t) x[t] = p.x + p.input_row(token + t) * p.x_stride;
  Lanes at[Rows][Tokens];
  for (int r = 0; r < Rows; ++r) {
    for (int t = 0; t < Tokens; ++t) at[r][t] = sums[r][t];
  }
  int64_t i = begin;
  for (; i + 16 <= end; i += 16) {
    Lanes in[Tokens];
    for (int t = 0; t < Tokens; ++t) in[t] = load(x[t] + i);
    for (int r = 0; r < Rows; ++r) {
      const Lanes weights = load_weights<Kind>(w[r], i);
      for (int t = 0; t < Tokens; ++t) at[r][t] = fma(weights, in[t], at[r][t]);
    }
  }
  if (i < end) {
    for (int r = 0; r < Rows; ++r) {
      const Lanes weights = load_weights_first<Kind>(w[r], i, end - i);
      for (int t = 0; t < Tokens; ++t) {
        at[r][t] = fma(weights, load_first(x[t] + i, end - i), at[r][t]);
      }
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int t = 0; t < Tokens; ++t) sums[r][t] = at[r][t];
  }
}

template <int Rows, int Tokens>
HLWQ_INLINE void finish_tile(const Product& p, int64_t row, int64_t token,
                             const Lanes (&sums)[Rows][Tokens]) {
  if constexpr (Rows * Tokens == 16) {
    Lanes flat[16];
    for (int n = 0; n < 16; ++n) flat[n] = sums[n / Tokens][n % Tokens];
    alignas(64) float values[16];
    store(values, sum_each(flat));
    for (int n = 0; n < 16; ++n) finish_output(p, token + n % Tokens, row + n / Tokens, values[n]);
  } else {
    for (int r = 0; r < Rows; ++r) {
      for (int t = 0; t < Tokens; ++t) finish_output(p, token + t, row + r, sum_lanes(sums[r][t]));
    }
  }
}

template <int Rows, int Tokens>
HLWQ_INLINE void clear_tile(Lanes (&sums)[Rows][Tokens]) {
  for (int r = 0; r < Rows; ++r) {
    for (int t = 0; t < Tokens; ++t) sums[r][t] = set1(0.0f);
  }
}

template <WeightKind Kind, int Rows>
HLWQ_INLINE void plain_tile_of_one(const Product& p, int64_t row, int64_t token) {
  Lanes sums[Rows][1];
  clear_tile(sums);
  add_columns<Kind>(p, row, token, 0, p.weights.cols, sums);
  finish_tile(p, row, token, sums);
}

template <WeightKind Kind, int Rows>
HLWQ_INLINE void plain_rows(const Product& p, int64_t row) {
  constexpr int64_t kTiles = 8, kColumns = 512;  // tiles of 4 tokens that pass a part of the rows
  const int64_t cols = p.weights.cols;
  int64_t first = 0;
  while (first + 4 <= p.tokens) {
    const int64_t left = (p.tokens - first) / 4, tiles = left < kTiles ? left : kTiles;
    Lanes sums[kTiles][Rows][4];
    for (int64_t n = 0; n < tiles; ++n) clear_tile(sums[n]);
    for (int64_t i = 0; i < cols; i += kColumns) {
      const int64_t end = i + kColumns < cols ? i + kColumns : cols;
      for (int64_t n = 0; n < tiles; ++n) {
        add_columns<Kind>(p, row, first + 4 * n, i, end, sums[n]);
      }
    }
    for (int64_t n = 0; n < tiles; ++n) finish_tile(p, row, first + 4 * n, sums[n]);
    first += 4 * tiles;
  }
  for (; first < p.tokens; ++first) plain_tile_of_one<Kind, Rows>(p, row, first);
}

template <WeightKind Kind>
void plain_product_of(const Product& p, int64_t begin, int64_t end) {
  int64_t row = begin;
  if (p.tokens == 1) {
    for (; row + 16 <= end; row += 16) plain_tile_of_one<Kind, 16>(p, row, 0);
    for (; row + 8 <= end; row += 8) plain_tile_of_one<Kind, 8>(p, row, 0);
  }
  for (; row + 4 <= end; row += 4) plain_rows<Kind, 4>(p, row);
  for (; row < end; ++row) plain_rows<Kind, 1>(p, row);
}

void plain_product(const Product& p, int64_t begin, int64_t end) {
  switch (p.weights.kind) {
    case WeightKind::kF16:
      return plain_product_of<WeightKind::kF16>(p, begin, end);
    case WeightKind::kBF16:
      return plain_product_of<WeightKind::kBF16>(p, begin, end);
    default:
      return plain_product_of<WeightKind::kF32>(p, begin, end);
  }
}
