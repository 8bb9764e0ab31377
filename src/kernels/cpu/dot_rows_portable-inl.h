// Sixteen dot products of int16 levels with int8 activations.
HLWQ_INLINE void dot_rows(const int16_t (&v)[16][kBlock], const int8_t* x, int32_t (&dots)[16]) {
  int16_t wide[kBlock];
  for (int i = 0; i < kBlock; ++i) wide[i] = x[i];
  for (int r = 0; r < 16; ++r) {
    int32_t sum = 0;
    for (int i = 0; i < kBlock; ++i) sum += static_cast<int32_t>(v[r][i]) * wide[i];
    dots[r] = sum;
  }
}
