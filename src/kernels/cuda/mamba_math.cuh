#pragma once
// The arithmetic that the kernels of a Mamba-2 mixer share, so that a token's bits do not depend on
// which of them serves it.
//
// Scan. kLanes lanes hold a row p of a head's state, lane l of them elements n = 4l .. 4l+3. A
// thread holds kSlots rows; slot s of lane l is row s ^ order_of_rows(l) of the thread's rows, so
// that the sum over lanes needs no selects (sum_rows).

#include "kernels/cuda/mamba.h"

namespace hlwq::cuda {

__device__ __forceinline__ float silu(float v) { return __fdiv_rn(v, 1.0f + expf(-v)); }

struct Rates {
  float time_step, decay;  // dt, exp(dt A)
};

// What the rates of a head come from, beside its projected dt.
struct HeadRates {
  float bias, a;  // a: A, negative
  float dt_min, dt_max;

  // NaN stays NaN.
  __device__ __forceinline__ Rates at(float raw) const {
    const float biased = raw + bias;
    const float soft = biased > 20.0f ? biased : log1pf(expf(biased));
    const float dt = soft < dt_min ? dt_min : soft > dt_max ? dt_max : soft;
    return {dt, expf(dt * a)};
  }
};

__device__ __forceinline__ HeadRates head_rates(const MambaCall& a, int head) {
  return {a.dt_bias[head], -expf(a.a_log[head]), a.dt_min, a.dt_max};
}

// The raw inputs of one column of x | B | C, by tokens counted from the segment's first; those
// before it are in the window, or zero at the start of a sequence.
struct RawColumn {
  const float* first;  // of the segment's first token
  int64_t stride;
  const float* window;  // [kernel - 1], oldest first; null: zeros
  int history;          // kernel - 1

  __device__ __forceinline__ float at(int64_t token) const {
    if (token >= 0) return first[token * stride];
    return window == nullptr ? 0.0f : window[history + token];
  }
};

__device__ __forceinline__ RawColumn raw_column(const MambaCall& a, const Segment& segment,
                                                int column) {
  const int history = a.kernel - 1;
  return {a.projected + segment.first_token * a.projected_stride + a.inner + column,
          a.projected_stride,
          segment.position == 0 ? nullptr
                                : a.conv_state + (segment.slot * a.channels + column) * history,
          history};
}

// Convolution and SiLU of one column at `token`.
__device__ __forceinline__ float convolve(const MambaCall& a, const RawColumn& raw, int column,
                                          int64_t token) {
  const float* const weight = a.conv_weight + static_cast<int64_t>(column) * a.kernel;
  float sum = a.conv_bias == nullptr ? 0.0f : a.conv_bias[column];
  for (int i = 0; i < a.kernel; ++i) sum = fmaf(weight[i], raw.at(token - raw.history + i), sum);
  return silu(sum);
}

// The window after the segment's last token. Only the thread that owns the column calls it, once
// nobody needs the old window. In place: element i is read from an element after i.
__device__ __forceinline__ void move_window(const MambaCall& a, const Segment& segment,
                                            const RawColumn& raw, int column) {
  float* const window = a.conv_state + (segment.slot * a.channels + column) * raw.history;
  for (int i = 0; i < raw.history; ++i) window[i] = raw.at(segment.tokens - raw.history + i);
}

inline constexpr int kSlots = 4;  // rows of a thread: a power of two

template <int kLanes>
__device__ __forceinline__ int order_of_rows() {
  static_assert(kSlots == 4 && kLanes >= 4);
  return (threadIdx.x & (kLanes / 2) ? 2 : 0) | (threadIdx.x & (kLanes / 4) ? 1 : 0);
}

// One token: S = decay * S + driven B for each slot, driven = dt x; sums[s] = the lane's part of
// S . C.
__device__ __forceinline__ void advance(float4 (&state)[kSlots], float decay, const float4& b,
                                        const float4& c, const float (&driven)[kSlots],
                                        float (&sums)[kSlots]) {
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    state[s].x = fmaf(driven[s], b.x, decay * state[s].x);
    state[s].y = fmaf(driven[s], b.y, decay * state[s].y);
    state[s].z = fmaf(driven[s], b.z, decay * state[s].z);
    state[s].w = fmaf(driven[s], b.w, decay * state[s].w);
    sums[s] = state[s].x * c.x;
    sums[s] = fmaf(state[s].y, c.y, sums[s]);
    sums[s] = fmaf(state[s].z, c.z, sums[s]);
    sums[s] = fmaf(state[s].w, c.w, sums[s]);
  }
}

// Sums over the row's lanes, lanes kLanes / 2 apart first. Returns that of row order_of_rows() of
// the thread's rows: the slots given away hold, on the side they go to, the rows kept there.
template <int kLanes>
__device__ __forceinline__ float sum_rows(float (&sums)[kSlots]) {
  constexpr unsigned kAll = 0xffffffffu;
  sums[0] += __shfl_xor_sync(kAll, sums[2], kLanes / 2);
  sums[1] += __shfl_xor_sync(kAll, sums[3], kLanes / 2);
  sums[0] += __shfl_xor_sync(kAll, sums[1], kLanes / 4);
#pragma unroll
  for (int distance = kLanes / 8; distance > 0; distance /= 2)
    sums[0] += __shfl_xor_sync(kAll, sums[0], distance);
  return sums[0];
}

// y = (S . C + D x) silu(z).
__device__ __forceinline__ float gate(float sum, float d, float x, float z) {
  return fmaf(d, x, sum) * silu(z);
}

}  // namespace hlwq::cuda
