// Row-wise kernels: RMS norm, rotation and quantization of activations, relu^2, gated SiLU, rotary
// positions, sums.
// Math    norm: y = w * (x / sqrt(mean(x^2) + eps)); quantize: quant/activation.h, to the bit
// Shapes  one token's row of any width; blocks of 128, the last one padded with zeros
// Bytes   norm 12 a value; quantize 5 a value: both stay in L1, so latency and divisions count
// Method  a block is eight registers of 16 lanes: strides 1..8 inside a register, 16..64 between;
//         quantize: eight blocks are rotated, then eight are rounded, so that the long chain from a
//         block's values over its scale to its codes overlaps with other blocks'

HLWQ_INLINE void rotate_lanes(Lanes (&z)[8]) {
  for (int i = 0; i < 8; ++i) {
    z[i] = butterfly_lanes<1>(z[i]);
    z[i] = butterfly_lanes<2>(z[i]);
    z[i] = butterfly_lanes<4>(z[i]);
    z[i] = butterfly_lanes<8>(z[i]);
  }
  for (int stride = 1; stride < 8; stride *= 2) {
    for (int i = 0; i < 8; ++i) {
      if ((i & stride) != 0) continue;
      const Lanes a = z[i], b = z[i + stride];
      z[i] = a + b;
      z[i + stride] = a - b;
    }
  }
}

// Block b of a row, zeros after its end.
HLWQ_INLINE void load_block(const float* x, int64_t cols, int64_t b, Lanes (&z)[8]) {
  const int64_t left = cols - b * kBlock;
  if (left >= kBlock) {
    for (int i = 0; i < 8; ++i) z[i] = load(x + b * kBlock + 16 * i);
    return;
  }
  for (int i = 0; i < 8; ++i) {
    const int64_t n = left - 16 * i;
    const float* p = x + b * kBlock + 16 * i;
    z[i] = n >= 16 ? load(p) : n > 0 ? load_first(p, n) : set1(0.0f);
  }
}

HLWQ_INLINE bool is_finite(float x) { return __builtin_fabsf(x) <= 3.402823466e38f; }

void norm_row(const float* x, const float* weight, int64_t width, float eps, float* y) {
  Lanes squares = set1(0.0f);
  int64_t i = 0;
  for (; i + 16 <= width; i += 16) {
    const Lanes v = load(x + i);
    squares = fma(v, v, squares);
  }
  if (i < width) {
    const Lanes v = load_first(x + i, width - i);
    squares = fma(v, v, squares);
  }
  const float mean = sum_lanes(squares) / static_cast<float>(width);
  const Lanes root = set1(__builtin_sqrtf(mean + eps));
  for (i = 0; i + 16 <= width; i += 16) store(y + i, load(weight + i) * (load(x + i) / root));
  if (i < width) {
    const int64_t n = width - i;
    store_first(y + i, load_first(weight + i, n) * (load_first(x + i, n) / root), n);
  }
}

bool quantize_row(const float* x, int64_t cols, int64_t blocks, int8_t* xq, float* sx,
                  int32_t* sum) {
  constexpr int64_t kBlocks = 8;
  alignas(64) float rotated[kBlocks][kBlock];
  float largest[kBlocks];
  bool finite = true;
  for (int64_t first = 0; first < blocks; first += kBlocks) {
    const int64_t count = blocks - first < kBlocks ? blocks - first : kBlocks;
    for (int64_t b = 0; b < count; ++b) {
      Lanes z[8];
      load_block(x, cols, first + b, z);
      rotate_lanes(z);
      largest[b] = largest_magnitude(z);
      for (int i = 0; i < 8; ++i) store(rotated[b] + 16 * i, z[i]);
    }
    for (int64_t b = 0; b < count; ++b) {
      int8_t* const out = xq + (first + b) * kBlock;
      const float m = largest[b];
      const bool block_finite = is_finite(m);
      finite = finite && block_finite;
      if (!block_finite || m < kTinyActivation) {
        __builtin_memset(out, 0, kBlock);
        sx[first + b] = 0.0f;
        sum[first + b] = 0;
        continue;
      }
      sx[first + b] = m / 127.0f;
      sum[first + b] = store_quotients_i8(out, rotated[b], sx[first + b]);
    }
  }
  return finite;
}

bool rotate_row(const float* x, int64_t cols, int64_t blocks, float* rotated) {
  bool finite = true;
  for (int64_t b = 0; b < blocks; ++b) {
    Lanes z[8];
    load_block(x, cols, b, z);
    rotate_lanes(z);
    finite = is_finite(largest_magnitude(z)) && finite;
    for (int i = 0; i < 8; ++i) store(rotated + b * kBlock + 16 * i, z[i]);
  }
  return finite;
}

void relu_squared(float* x, int64_t count) {
  const Lanes zero = set1(0.0f);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const Lanes r = at_least(load(x + i), zero);
    store(x + i, r * r);
  }
  if (i < count) {
    const Lanes r = at_least(load_first(x + i, count - i), zero);
    store_first(x + i, r * r, count - i);
  }
}

void silu_gate(const float* gate, const float* up, int64_t count, float* out) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) store(out + i, silu(load(gate + i)) * load(up + i));
  if (i < count) {
    const int64_t n = count - i;
    store_first(out + i, silu(load_first(gate + i, n)) * load_first(up + i, n), n);
  }
}

void turn_pairs(const float* cosines, const float* sines, int64_t pairs, float* head) {
  float* const other = head + pairs;
  int64_t i = 0;
  for (; i + 16 <= pairs; i += 16) {
    const Lanes a = load(head + i), b = load(other + i), c = load(cosines + i), s = load(sines + i);
    store(head + i, a * c - b * s);
    store(other + i, b * c + a * s);
  }
  if (i < pairs) {
    const int64_t n = pairs - i;
    const Lanes a = load_first(head + i, n), b = load_first(other + i, n);
    const Lanes c = load_first(cosines + i, n), s = load_first(sines + i, n);
    store_first(head + i, a * c - b * s, n);
    store_first(other + i, b * c + a * s, n);
  }
}

void add_scaled(const float* x, float weight, int64_t count, bool first, float* y) {
  const Lanes w = set1(weight);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    store(y + i, fma(w, load(x + i), first ? set1(0.0f) : load(y + i)));
  }
  if (i < count) {
    const int64_t n = count - i;
    const Lanes old = first ? set1(0.0f) : load_first(y + i, n);
    store_first(y + i, fma(w, load_first(x + i, n), old), n);
  }
}

void add(const float* x, int64_t count, float* y) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) store(y + i, load(y + i) + load(x + i));
  if (i < count) {
    const int64_t n = count - i;
    store_first(y + i, load_first(y + i, n) + load_first(x + i, n), n);
  }
}

void store_half(const float* x, int64_t count, uint16_t* out) {
  for (int64_t i = 0; i < count; i += 16) {
    const int64_t n = count - i < 16 ? count - i : 16;
    const Lanes v = at_most(at_least(load_first(x + i, n), set1(-65504.0f)), set1(65504.0f));
    if (n == 16) {
      store_f16(out + i, v);
    } else {
      uint16_t tail[16];
      store_f16(tail, v);
      for (int64_t j = 0; j < n; ++j) out[i + j] = tail[j];
    }
  }
}
