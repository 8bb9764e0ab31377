// The two middle steps of a Mamba-2 mixer: causal convolution with SiLU, and the selective scan.
// Math    docs/math.md#mamba-2. The scan is the recurrence, token by token, so that a sequence
// gives
//         the same bits however it is cut:
//           S[p][n] = fma(dt*x[p], B[n], decay*S[p][n]),  y[p] = S[p] . C + d*x[p],  decay =
//           e^(dt*A)
// Shapes  see Convolution and Scan in kernels.h; 16 lanes along channels, along n in the scan
// Bytes   decode: 8 * head_dim * state a head (read and write); prefill: in L1
// Method  the window lives in registers; 4 rows p share each load of B and C

void convolve(const Convolution& a) {
  const auto kernel = static_cast<int>(a.kernel);
  for (int64_t first = 0; first < a.channels; first += 16) {
    const int64_t n = a.channels - first < 16 ? a.channels - first : 16;
    Lanes weight[kMaxConvKernel], window[kMaxConvKernel];
    alignas(64) float column[16] = {};
    for (int k = 0; k < kernel; ++k) {
      for (int64_t j = 0; j < n; ++j) column[j] = a.weight[(first + j) * kernel + k];
      weight[k] = load(column);
    }
    float* state = a.state + first * (kernel - 1);
    for (int k = 0; k + 1 < kernel; ++k) {
      for (int64_t j = 0; j < n; ++j) column[j] = a.fresh ? 0.0f : state[j * (kernel - 1) + k];
      window[k] = load(column);
    }
    const Lanes bias = a.bias == nullptr ? set1(0.0f) : load_first(a.bias + first, n);
    for (int64_t t = 0; t < a.tokens; ++t) {
      window[kernel - 1] = load_first(a.raw + t * a.raw_stride + first, n);
      Lanes sum = bias;
      for (int k = 0; k < kernel; ++k) sum = fma(weight[k], window[k], sum);
      store_first(a.out + t * a.out_stride + first, silu(sum), n);
      for (int k = 0; k + 1 < kernel; ++k) window[k] = window[k + 1];
    }
    for (int k = 0; k + 1 < kernel; ++k) {
      store(column, window[k]);
      for (int64_t j = 0; j < n; ++j) state[j * (kernel - 1) + k] = column[j];
    }
  }
}

// y[p] = S[p] . C for Rows rows after their update.
template <int Rows>
HLWQ_INLINE void scan_rows(float* state, int64_t size, const float* b, const float* c, Lanes decay,
                           const float* dt_x, float* y) {
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
  for (int r = 0; r < Rows; ++r) y[r] = sum_lanes(sums[r]);
}

void scan(const Scan& a) {
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
    const float raw = a.dt[t * a.raw_stride] + a.dt_bias;
    float dt = raw > 20.0f ? raw : __builtin_log1pf(__builtin_expf(raw));
    dt = dt < a.dt_min ? a.dt_min : dt > a.dt_max ? a.dt_max : dt;
    const Lanes decay = set1(__builtin_expf(dt * rate));
    int64_t p = 0;
    for (; p + 4 <= a.head_dim; p += 4) {
      const float dt_x[4] = {dt * x[p], dt * x[p + 1], dt * x[p + 2], dt * x[p + 3]};
      scan_rows<4>(a.state + p * size, size, b, c, decay, dt_x, y + p);
    }
    for (; p < a.head_dim; ++p) {
      const float dt_x = dt * x[p];
      scan_rows<1>(a.state + p * size, size, b, c, decay, &dt_x, y + p);
    }
    const Lanes d = set1(a.d);
    for (p = 0; p < a.head_dim; p += 16) {
      const int64_t n = a.head_dim - p < 16 ? a.head_dim - p : 16;
      const Lanes v = fma(d, load_first(x + p, n), load_first(y + p, n));
      store_first(y + p, v * silu(load_first(z + p, n)), n);
    }
  }
}
