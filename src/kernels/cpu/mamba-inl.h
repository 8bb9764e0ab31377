// The two middle steps of a Mamba-2 mixer: causal convolution with SiLU, and the selective scan.
// Math    docs/math.md#mamba-2. The scan is the recurrence, token by token, so that a sequence
// gives
//         the same bits however it is cut:
//           S[p][n] = fma(dt*x[p], B[n], decay*S[p][n]),  y[p] = S[p] . C + d*x[p],  decay =
//           e^(dt*A)
// Shapes  see Convolution and Scan in kernels.h; 16 lanes along channels, along n in the scan
// Bytes   decode: 8 * head_dim * state a head (read and write); prefill: in L1
// Method  convolution: a token's row of channels at a time, earlier rows still in L1. Scan: 4 rows
// p
//         share each load of B and C; the rows of the next tokens lie pages apart and are
//         prefetched

void convolve(const Convolution& a) {
  constexpr int64_t kMost = kMaxConvChannels;
  const auto kernel = static_cast<int>(a.kernel);
  const int64_t history = kernel - 1;
  alignas(64) float weight[kMaxConvKernel][kMost] = {}, before[kMaxConvKernel][kMost] = {};
  for (int64_t j = 0; j < a.channels; ++j) {
    for (int k = 0; k < kernel; ++k) weight[k][j] = a.weight[j * kernel + k];
    for (int k = 0; k < history && !a.fresh; ++k) before[k][j] = a.state[j * history + k];
  }
  // Raw inputs of token t, or of the window when t is negative.
  const auto row = [&](int64_t t) {
    return t < 0 ? before[history + t] : a.raw + t * a.raw_stride;
  };
  for (int64_t t = 0; t < a.tokens; ++t) {
    const float* in[kMaxConvKernel];
    for (int k = 0; k < kernel; ++k) in[k] = row(t - history + k);
    float* out = a.out + t * a.out_stride;
    int64_t j = 0;
    for (; j + 16 <= a.channels; j += 16) {
      Lanes sum = a.bias == nullptr ? set1(0.0f) : load(a.bias + j);
      for (int k = 0; k < kernel; ++k) sum = fma(load(weight[k] + j), load(in[k] + j), sum);
      store(out + j, silu(sum));
    }
    if (const int64_t n = a.channels - j; n > 0) {
      Lanes sum = a.bias == nullptr ? set1(0.0f) : load_first(a.bias + j, n);
      for (int k = 0; k < kernel; ++k) {
        sum = fma(load(weight[k] + j), load_first(in[k] + j, n), sum);
      }
      store_first(out + j, silu(sum), n);
    }
  }
  for (int k = 0; k < history; ++k) {
    const float* last = row(a.tokens - history + k);
    for (int64_t j = 0; j < a.channels; ++j) a.state[j * history + k] = last[j];
  }
}

// Updates Rows rows of a state; row_sums[r] are the 16 partial sums of S[r] . C.
template <int Rows>
HLWQ_INLINE void scan_rows(float* state, int64_t size, const float* b, const float* c, Lanes decay,
                           const float* dt_x, Lanes* row_sums) {
  Lanes in[Rows], sums[Rows];
  for (int r = 0; r < Rows; ++r) {
    in[r] = set1(dt_x[r]);
    sums[r] = set1(0.0f);
  }
  int64_t n = 0;
  for (; n + 16 <= size; n += 16) {
    const Lanes bn = load(b + n), cn = load(c + n);
    for (int r = 0; r < Rows; ++r) {
      float* s = state + r * size + n;
      const Lanes next = fma(in[r], bn, decay * load(s));
      store(s, next);
      sums[r] = fma(next, cn, sums[r]);
    }
  }
  if (n < size) {
    const int64_t left = size - n;
    const Lanes bn = load_first(b + n, left), cn = load_first(c + n, left);
    for (int r = 0; r < Rows; ++r) {
      float* s = state + r * size + n;
      const Lanes next = fma(in[r], bn, decay * load_first(s, left));
      store_first(s, next, left);
      sums[r] = fma(next, cn, sums[r]);
    }
  }
  for (int r = 0; r < Rows; ++r) row_sums[r] = sums[r];
}

HLWQ_INLINE void prefetch_floats(const float* p, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) __builtin_prefetch(p + i);
}

void scan(const Scan& a) {
  constexpr int64_t kAhead = 2;  // tokens
  const int64_t size = a.state_size;
  if (a.fresh) {
    for (int64_t i = 0; i < a.head_dim * size; ++i) a.state[i] = 0.0f;
  }
  const float rate = -__builtin_expf(a.a_log);
  for (int64_t t = 0; t < a.tokens; ++t) {
    const float* x = a.x + t * a.x_stride;
    const float* b = a.b + t * a.x_stride;
    const float* c = a.c + t * a.x_stride;
    const float* z = a.z + t * a.raw_stride;
    float* y = a.y + t * a.y_stride;
    if (t + kAhead < a.tokens) {
      prefetch_floats(x + kAhead * a.x_stride, a.head_dim);
      prefetch_floats(b + kAhead * a.x_stride, size);
      prefetch_floats(c + kAhead * a.x_stride, size);
      prefetch_floats(z + kAhead * a.raw_stride, a.head_dim);
      prefetch_floats(a.dt + (t + kAhead) * a.raw_stride, 1);
    }
    const float raw = a.dt[t * a.raw_stride] + a.dt_bias;
    float dt = raw > 20.0f ? raw : __builtin_log1pf(__builtin_expf(raw));
    dt = dt < a.dt_min ? a.dt_min : dt > a.dt_max ? a.dt_max : dt;
    const Lanes decay = set1(__builtin_expf(dt * rate));
    for (int64_t p = 0; p < a.head_dim; p += 16) {
      const int64_t rows = a.head_dim - p < 16 ? a.head_dim - p : 16;
      const Lanes xp = load_first(x + p, rows);
      alignas(64) float dt_x[16];
      store(dt_x, set1(dt) * xp);
      Lanes sums[16];
      int64_t r = 0;
      for (; r + 4 <= rows; r += 4) {
        scan_rows<4>(a.state + (p + r) * size, size, b, c, decay, dt_x + r, sums + r);
      }
      for (; r < rows; ++r) {
        scan_rows<1>(a.state + (p + r) * size, size, b, c, decay, dt_x + r, sums + r);
      }
      for (; r < 16; ++r) sums[r] = set1(0.0f);
      const Lanes v = fma(set1(a.d), xp, sum_each(sums));
      store_first(y + p, v * silu(load_first(z + p, rows)), rows);
    }
  }
}
