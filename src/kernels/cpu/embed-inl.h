// One row of a table as FP32.
// Math    coded: w = (norm * (step / 256)) * float(T), T the integer butterfly of 2 v[code] + 1
// Shapes  a row of [rows, cols], any kind of weights
// Bytes   one row: nothing

void embed_row(const Weights& w, int64_t row, float* y) {
  switch (w.kind) {
    case WeightKind::kF32:
    case WeightKind::kF16:
    case WeightKind::kBF16: {
      const int64_t bytes = w.kind == WeightKind::kF32 ? 4 : 2;
      const uint8_t* from = w.data + row * w.cols * bytes;
      for (int64_t i = 0; i < w.cols; i += 16) {
        const int64_t n = w.cols - i < 16 ? w.cols - i : 16;
        const Lanes v =
            w.kind == WeightKind::kF32   ? load_weights_first<WeightKind::kF32>(from, i, n)
            : w.kind == WeightKind::kF16 ? load_weights_first<WeightKind::kF16>(from, i, n)
                                         : load_weights_first<WeightKind::kBF16>(from, i, n);
        store_first(y + i, v, n);
      }
      return;
    }
    default:
      break;
  }
  const RowDecoder decode(w);
  for (int64_t b = 0; b < w.blocks; ++b) {
    alignas(64) int16_t v[kBlock];
    decode.levels(row, b, v);
    // |T| <= 128 * 65535 < 2^23: additions of such integers are exact in FP32.
    Lanes odd[8];
    for (int i = 0; i < 8; ++i) odd[i] = fma(set1(2.0f), load_i16(v + 16 * i), set1(1.0f));
    rotate_lanes(odd);
    const Lanes scale = set1(decode.norm(row, b) * w.factor);
    const int64_t left = w.cols - b * kBlock;
    for (int i = 0; i < 8; ++i) {
      const int64_t n = left - 16 * i;
      if (n <= 0) break;
      store_first(y + b * kBlock + 16 * i, scale * odd[i], n < 16 ? n : 16);
    }
  }
}
