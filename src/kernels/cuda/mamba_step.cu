// mamba_step.cu: a Mamba-2 mixer for segments of one token, all of it in one launch.
// Math    docs/math.md#mamba-2: convolution, SiLU, dt, S = decay S + dt x (outer) B, S . C + D x,
//         times silu(z), group norm, int8. Same order of operations as convolve, scan, norm
// Shapes  state % 4 == 0 up to 128 (up to 64: half a warp a row), head_dim % 4 == 0, state pool
//         aligned to 16 bytes, kernel up to 8; any heads, groups
// Bytes   8 * heads * head_dim * state + 8 * channels * (kernel - 1) + weights of the convolution;
//         30B (64 heads of 64, state 128, kernel 4): 4.19 + 0.15 + 0.12 = 4.5 MB a segment
// Floor   4.5 MB at 4.3 TB/s = 1.04 us
// Method  a CTA has 32 (64) rows of one head's state: 128 CTAs a segment. Its state is brought to
//         L2 before the inputs are waited for. It convolves its own x and, like the others of its
//         group, all of B and C; the windows of B and C are moved by the last CTA of the group to
//         arrive, when nobody reads them any more. That CTA also norms the group

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mamba.h"
#include "kernels/cuda/mamba_math.cuh"
#include "kernels/cuda/mamba_norm.cuh"
#include "kernels/cuda/prefetch.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32;
constexpr int kMostBlocks = kMostGroupWidth / kBlock;

template <int kLanes>
constexpr int kRows = kWarps* kSlots*(32 / kLanes);  // of a CTA

// True in the CTA that is the last of `arrivals` to call; what the others wrote before is visible
// to it. Every thread calls. The counter is zero again afterwards.
__device__ bool arrive_last(uint32_t* counter, int arrivals) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();  // the whole CTA's writes are done and visible before its arrival is
  if (threadIdx.x == 0) {
    last = atomicAdd(counter, 1u) == static_cast<uint32_t>(arrivals - 1);
    if (last) *counter = 0;
  }
  __syncthreads();  // `last` is set
  if (last) __threadfence();
  return last;
}

// Four gated values that other CTAs wrote: from L2, since L1 may hold an older line.
__device__ __forceinline__ void load_gated(float (&v)[4], const NormGroup& g, int first) {
  const auto width = static_cast<int>(g.rows.width);
  if (g.aligned && first + 4 <= width) {
    const float4 four = __ldcg(reinterpret_cast<const float4*>(g.rows.x + first));
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = first + i < width ? __ldcg(g.rows.x + first + i) : 0.0f;
}

__device__ void norm_by_cta(const MambaCall& a, int64_t token, int group) {
  __shared__ float block_sum[kMostBlocks];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const NormGroup g = norm_group(a, token, group);
  float v[4];
  for (int block = warp; block < g.blocks; block += kWarps) {
    load_gated(v, g, block * kBlock + 4 * lane);
    const float squares = sum_of_squares(v);
    if (lane == 0) block_sum[block] = squares;
  }
  __syncthreads();  // block_sum is complete
  float squares = 0;
  for (int block = 0; block < g.blocks; ++block) squares += block_sum[block];
  const float scale = root_scale(squares, g.rows);
  for (int block = warp; block < g.blocks; block += kWarps) {
    // A warp with one block has it in its registers still.
    if (g.blocks > kWarps) load_gated(v, g, block * kBlock + 4 * lane);
    write_block(g, block, v, scale);
  }
}

// One column of x | B | C at the segment's only token.
template <int kTaps>
struct Column {
  float weight[kTaps], bias;
  float input[kTaps];  // the window, oldest first, and the token's raw input

  __device__ __forceinline__ void load_weights(const MambaCall& a, int column, int kernel) {
    bias = a.conv_bias == nullptr ? 0.0f : a.conv_bias[column];
#pragma unroll
    for (int i = 0; i < kTaps; ++i)
      if (i < kernel) weight[i] = a.conv_weight[static_cast<int64_t>(column) * kernel + i];
  }
  __device__ __forceinline__ void load_inputs(const RawColumn& raw, int kernel) {
#pragma unroll
    for (int i = 0; i < kTaps; ++i)
      if (i < kernel) input[i] = raw.at(i - (kernel - 1));
  }
  __device__ __forceinline__ float convolve(int kernel) const {
    float sum = bias;
#pragma unroll
    for (int i = 0; i < kTaps; ++i)
      if (i < kernel) sum = fmaf(weight[i], input[i], sum);
    return silu(sum);
  }
  __device__ __forceinline__ void store_window(float* window, int kernel) const {
#pragma unroll
    for (int i = 0; i + 1 < kTaps; ++i)
      if (i + 1 < kernel) window[i] = input[i + 1];
  }
};

// kTaps: at least the kernel; 4 is the kernel.
template <int kLanes, int kTaps>
__global__ void __launch_bounds__(kThreads, 2) step(const MambaCall a, int parts) {
  __shared__ __align__(16) float b[4 * kLanes], c[4 * kLanes], x[kRows<kLanes>];
  let_next_start();
  const Segment segment = a.segments[blockIdx.y];
  if (segment.tokens != 1) {
    wait_for_inputs();  // so that whoever waits for this kernel has waited for those before it
    return;
  }

  const int kernel = kTaps == 4 ? 4 : a.kernel;
  const int head = blockIdx.x / parts, first_row = blockIdx.x % parts * kRows<kLanes>;
  const int rows = min(kRows<kLanes>, a.head_dim - first_row);
  const int per_group = a.heads / a.groups, group = head / per_group;
  const int thread = threadIdx.x, lane = thread % 32, n = 4 * (thread % kLanes);
  const bool fresh = segment.position == 0;
  float* const state_rows =
      a.ssm_state +
      ((segment.slot * a.heads + head) * a.head_dim + first_row) * static_cast<int64_t>(a.state);

  // Columns of x | B | C that this CTA convolves: B, C of its group, then x of its rows.
  const int columns = 2 * a.state + rows;
  const auto column_of = [&](int i) {
    if (i >= 2 * a.state) return head * a.head_dim + first_row + i - 2 * a.state;
    const int in_group = a.inner + group * a.state;
    return i < a.state ? in_group + i : in_group + a.groups * a.state + i - a.state;
  };
  const auto window_of = [&](int column) {
    return a.conv_state + (segment.slot * a.channels + column) * (kernel - 1);
  };
  constexpr int kTurns = (8 * kLanes + kRows<kLanes> + kThreads - 1) / kThreads;
  Column<kTaps> column[kTurns];
  if (!fresh) prefetch_l2(state_rows, 4 * static_cast<int64_t>(rows) * a.state);
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int i = thread + turn * kThreads;
    if (i >= columns) continue;
    if (kernel > 1) prefetch_l2(window_of(column_of(i)));
    column[turn].load_weights(a, column_of(i), kernel);
  }
  const HeadRates head_rate = head_rates(a, head);
  const float d = a.d[head];
  if (thread == 0) prefetch_l2(a.norm_weight + head * a.head_dim + first_row);
  wait_for_inputs();

  const int order = order_of_rows<kLanes>();
  const int base = thread / kLanes * kSlots;  // of the thread's rows
  float4 state[kSlots];
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const int row = base + (s ^ order);
    state[s] = make_float4(0, 0, 0, 0);
    if (!fresh && row < rows && n < a.state)
      state[s] =
          *reinterpret_cast<const float4*>(state_rows + static_cast<int64_t>(row) * a.state + n);
  }
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int i = thread + turn * kThreads;
    if (i < columns) column[turn].load_inputs(raw_column(a, segment, column_of(i)), kernel);
  }
  const float* const projected = a.projected + segment.first_token * a.projected_stride;
  const int out_row = base + order, channel = head * a.head_dim + first_row + out_row;
  const bool writes = (lane & (kLanes / kSlots - 1)) == 0 && out_row < rows;
  const float z = writes ? projected[channel] : 0.0f;
  const Rates rates = head_rate.at(projected[a.inner + a.channels + head]);
  if (thread < 4 * kLanes && thread >= a.state) b[thread] = c[thread] = 0;
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int i = thread + turn * kThreads;
    if (i >= columns) continue;
    const float mixed = column[turn].convolve(kernel);
    if (i < a.state) {
      b[i] = mixed;
    } else if (i < 2 * a.state) {
      c[i - a.state] = mixed;
    } else {
      x[i - 2 * a.state] = mixed;
      column[turn].store_window(window_of(column_of(i)), kernel);  // nobody else reads it
    }
  }
  __syncthreads();  // b, c and x are complete

  float driven[kSlots], sums[kSlots];
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const int row = base + (s ^ order);
    driven[s] = row < rows ? rates.time_step * x[row] : 0.0f;
  }
  advance(state, rates.decay, *reinterpret_cast<const float4*>(b + n),
          *reinterpret_cast<const float4*>(c + n), driven, sums);
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const int row = base + (s ^ order);
    if (row < rows && n < a.state)
      *reinterpret_cast<float4*>(state_rows + static_cast<int64_t>(row) * a.state + n) = state[s];
  }
  const float sum = sum_rows<kLanes>(sums);
  if (writes) a.out[segment.first_token * a.out_stride + channel] = gate(sum, d, x[out_row], z);

  uint32_t* const counter = a.counters + static_cast<int64_t>(blockIdx.y) * a.groups + group;
  if (!arrive_last(counter, per_group * parts)) return;
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int i = thread + turn * kThreads;
    if (i < 2 * a.state) column[turn].store_window(window_of(column_of(i)), kernel);
  }
  norm_by_cta(a, segment.first_token, group);
}

template <int kLanes, int kTaps>
void launch_step(const MambaCall& call, cudaStream_t stream) {
  const int parts = (call.head_dim + kRows<kLanes> - 1) / kRows<kLanes>;
  launch(step<kLanes, kTaps>,
         {.grid = dim3(static_cast<unsigned>(call.heads * parts),
                       static_cast<unsigned>(call.segment_count)),
          .block = kThreads,
          .stream = stream},
         call, parts);
}

template <int kLanes>
void launch_step(const MambaCall& call, cudaStream_t stream) {
  if (call.kernel == 4) return launch_step<kLanes, 4>(call, stream);
  launch_step<kLanes, kMostStepKernel>(call, stream);
}

}  // namespace

void mamba_step(const MambaCall& call, cudaStream_t stream) {
  if (call.state <= 64) return launch_step<16>(call, stream);
  launch_step<32>(call, stream);
}

}  // namespace hlwq::cuda
