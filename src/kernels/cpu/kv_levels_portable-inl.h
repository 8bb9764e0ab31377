// Levels of keys and values from their words (quant/kv_codes.h): the meaning that the files of the
// other instruction sets reproduce.

// Elements [16 part, 16 part + 16) of a unit of 32, word i of which is at words[i * stride].
// `levels` is a CodedHalf's.
template <int kBits>
HLWQ_INLINE Lanes kv_levels(const uint32_t* words, int64_t stride, int part, const float* levels) {
  Lanes r;
  for (int i = 0; i < 16; ++i) {
    const int g = i / 8, n = i % 8;
    if constexpr (kBits == 8) {
      const uint32_t code = words[(4 * part + i / 4) * stride] >> (8 * (i % 4)) & 0xff;
      r.v[i] = (static_cast<float>(code) - 127.5f) * (1.0f / 64);
    } else if constexpr (kBits == 4) {
      const uint32_t word = words[(2 * part + g) * stride];
      const float magnitude = levels[word >> (4 * n) & 7];
      const bool below = (word >> (n < 4 ? 8 * n + 7 : 8 * (n - 4) + 3) & 1) != 0;
      r.v[i] = below ? -magnitude : magnitude;
    } else {
      uint32_t code = words[part * stride] >> (4 * n + 2 * g) & 3;
      if constexpr (kBits == 3) code |= (words[2 * stride] >> (4 * n + 2 * part + g) & 1) << 2;
      r.v[i] = levels[code];
    }
  }
  return r;
}
