// The two middle steps of a Mamba-2 mixer: causal convolution with SiLU, and the selective scan.
// Math    docs/math.md#mamba-2. The scan is the recurrence, token by token, so that a sequence
//         gives the same bits however it is cut:
//           S[p][n] = fma(dt*x[p], B[n], decay*S[p][n]),  y[p] = S[p] . C + d*x[p],
//           decay = e^(dt*A)
// Shapes  see Convolution and Scan in kernels.h; 16 lanes along channels, along n in the scan
// Bytes   decode: 8 * head_dim * state a head (read and write); prefill: in L1
// Floor   scan: three vector operations for 16 elements of the state and a token
// Method  convolution: a token's row of channels at a time, earlier rows still in L1. Scan: 16
//         tokens at a time; two rows of 128 stay in registers while all of them pass (other sizes:
//         in L1); the rows of the next tokens lie pages apart and are prefetched

using ConvColumns = float[kMaxConvKernel][kMaxConvChannels];

// Columns of a matrix [channels, width], and back. Width: known beforehand, so that the compiler
// vectorizes; 0: not.
template <int Width>
HLWQ_INLINE void split_columns(const float* rows, int64_t channels, int64_t width,
                               ConvColumns& columns) {
  const int64_t n = Width == 0 ? width : Width;
  for (int64_t j = 0; j < channels; ++j) {
    for (int64_t k = 0; k < n; ++k) columns[k][j] = rows[j * n + k];
  }
}
template <int Width>
HLWQ_INLINE void join_columns(const float* const* columns, int64_t channels, int64_t width,
                              float* rows) {
  const int64_t n = Width == 0 ? width : Width;
  for (int64_t j = 0; j < channels; ++j) {
    for (int64_t k = 0; k < n; ++k) rows[j * n + k] = columns[k][j];
  }
}

template <int Kernel>
HLWQ_INLINE void convolve_with(const Convolution& a) {
  constexpr int kHistory = Kernel == 0 ? 0 : Kernel - 1;
  const auto kernel = Kernel == 0 ? static_cast<int>(a.kernel) : Kernel;
  const int64_t history = kernel - 1;
  alignas(64) ConvColumns weight, before;
  split_columns<Kernel>(a.weight, a.channels, kernel, weight);
  if (a.fresh) {
    for (int k = 0; k < history; ++k) __builtin_memset(before[k], 0, sizeof before[k]);
  } else {
    split_columns<kHistory>(a.state, a.channels, history, before);
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
        sum = fma(load_first(weight[k] + j, n), load_first(in[k] + j, n), sum);
      }
      store_first(out + j, silu(sum), n);
    }
  }
  const float* last[kMaxConvKernel];
  for (int k = 0; k < history; ++k) last[k] = row(a.tokens - history + k);
  join_columns<kHistory>(last, a.channels, history, a.state);
}

void convolve(const Convolution& a) {
  if (a.kernel == 4) return convolve_with<4>(a);
  convolve_with<0>(a);
}

// One token updates Rows rows of a state; row_sums[r] are the 16 partial sums of S[r] . C.
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

HLWQ_INLINE void copy_floats(const float* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) store(to + i, load(from + i));
  if (i < count) store_first(to + i, load_first(from + i, count - i), count - i);
}

HLWQ_INLINE void prefetch_floats(const float* p, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) __builtin_prefetch(p + i);
}

// What a token brings to all rows of a head's state.
struct ScanToken {
  const float *x, *b, *c, *z;
  float dt, decay;
};

HLWQ_INLINE ScanToken scan_token(const Scan& a, int64_t t, float rate) {
  const float raw = a.dt[t * a.raw_stride] + a.dt_bias;
  float dt = raw > 20.0f ? raw : __builtin_log1pf(__builtin_expf(raw));
  dt = dt < a.dt_min ? a.dt_min : dt > a.dt_max ? a.dt_max : dt;
  return {.x = a.x + t * a.x_stride,
          .b = a.b + t * a.x_stride,
          .c = a.c + t * a.x_stride,
          .z = a.z + t * a.raw_stride,
          .dt = dt,
          .decay = __builtin_expf(dt * rate)};
}

inline constexpr int64_t kScanTokens = 16;  // their B and C and the sums of 16 rows stay in L1
// B and C of at most this many values are copied: their rows in memory lie a multiple of 4 KiB
// apart and would share a few sets of L1.
inline constexpr int64_t kScanCopied = 128;
using ScanRow = float[16];   // dt * x of 16 rows
using ScanSums = Lanes[16];  // partial sums of 16 rows

// All tokens update Rows rows of 16 * Parts, from row r of 16 on, which stay in registers.
template <int Rows, int Parts>
HLWQ_INLINE void scan_resident(float* state, const ScanToken* token, int64_t tokens,
                               const ScanRow* dt_x, int64_t r, ScanSums* sums) {
  Lanes s[Rows][Parts];
#pragma GCC unroll 16
  for (int i = 0; i < Rows * Parts; ++i) s[i / Parts][i % Parts] = load(state + 16 * i);
  for (int64_t t = 0; t < tokens; ++t) {
    const Lanes decay = set1(token[t].decay);
    Lanes in[Rows], sum[Rows];
    for (int i = 0; i < Rows; ++i) {
      in[i] = set1(dt_x[t][r + i]);
      sum[i] = set1(0.0f);
    }
#pragma GCC unroll 16
    for (int n = 0; n < Parts; ++n) {
      const Lanes b = load(token[t].b + 16 * n), c = load(token[t].c + 16 * n);
      for (int i = 0; i < Rows; ++i) {
        s[i][n] = fma(in[i], b, decay * s[i][n]);
        sum[i] = fma(s[i][n], c, sum[i]);
      }
    }
    for (int i = 0; i < Rows; ++i) sums[t][r + i] = sum[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows * Parts; ++i) store(state + 16 * i, s[i / Parts][i % Parts]);
}

// All tokens update 16 rows of the state, or the first of them.
HLWQ_INLINE void scan_sixteen(float* state, int64_t size, int64_t rows, const ScanToken* token,
                              int64_t tokens, const ScanRow* dt_x, ScanSums* sums) {
  int64_t r = 0;
  if (size == 128) {
    for (; r + 2 <= rows; r += 2) {
      scan_resident<2, 8>(state + r * size, token, tokens, dt_x, r, sums);
    }
  }
  for (; r + 4 <= rows; r += 4) {
    for (int64_t t = 0; t < tokens; ++t) {
      scan_rows<4>(state + r * size, size, token[t].b, token[t].c, set1(token[t].decay),
                   dt_x[t] + r, sums[t] + r);
    }
  }
  for (; r < rows; ++r) {
    for (int64_t t = 0; t < tokens; ++t) {
      scan_rows<1>(state + r * size, size, token[t].b, token[t].c, set1(token[t].decay),
                   dt_x[t] + r, sums[t] + r);
    }
  }
}

void scan(const Scan& a) {
  const int64_t size = a.state_size;
  if (a.fresh) {
    for (int64_t i = 0; i < a.head_dim * size; ++i) a.state[i] = 0.0f;
  }
  const float rate = -__builtin_expf(a.a_log);
  for (int64_t first = 0; first < a.tokens; first += kScanTokens) {
    const int64_t tokens = a.tokens - first < kScanTokens ? a.tokens - first : kScanTokens;
    ScanToken token[kScanTokens];
    alignas(64) float near[kScanTokens][2][kScanCopied];
    for (int64_t t = 0; t < tokens; ++t) {
      token[t] = scan_token(a, first + t, rate);
      if (size <= kScanCopied) {
        copy_floats(token[t].b, size, near[t][0]);
        copy_floats(token[t].c, size, near[t][1]);
        token[t].b = near[t][0];
        token[t].c = near[t][1];
      }
      if (first + t + kScanTokens >= a.tokens) continue;
      const int64_t ahead = first + t + kScanTokens;
      prefetch_floats(a.x + ahead * a.x_stride, a.head_dim);
      prefetch_floats(a.b + ahead * a.x_stride, size);
      prefetch_floats(a.c + ahead * a.x_stride, size);
      prefetch_floats(a.z + ahead * a.raw_stride, a.head_dim);
      prefetch_floats(a.dt + ahead * a.raw_stride, 1);
    }
    for (int64_t p = 0; p < a.head_dim; p += 16) {
      const int64_t rows = a.head_dim - p < 16 ? a.head_dim - p : 16;
      alignas(64) ScanRow dt_x[kScanTokens];
      ScanSums sums[kScanTokens];
      for (int64_t t = 0; t < tokens; ++t) {
        store(dt_x[t], set1(token[t].dt) * load_first(token[t].x + p, rows));
        for (int64_t r = rows; r < 16; ++r) sums[t][r] = set1(0.0f);
      }
      scan_sixteen(a.state + p * size, size, rows, token, tokens, dt_x, sums);
      for (int64_t t = 0; t < tokens; ++t) {
        const Lanes v = fma(set1(a.d), load_first(token[t].x + p, rows), sum_each(sums[t]));
        store_first(a.y + (first + t) * a.y_stride + p, v * silu(load_first(token[t].z + p, rows)),
                    rows);
      }
    }
  }
}
