// mamba_scan.cu: the selective scan of long segments, token by token.
// Math    S = decay S + (time_step x) B, y = (S . C + D x) silu(z); the recurrence as it stands, so
//         that a sequence gives the same bits however it is cut, and the same as mamba_step
// Shapes  as mamba_step; convolved, time_step, decay as mamba_convolve leaves them
// Bytes   4 * tokens * (channels + 2 * inner) + 8 * heads * head_dim * state; arithmetic binds:
//         5 operations on each of heads * head_dim * state elements a token
// Floor   30B, 4096 tokens: 64 * 64 * 128 / 32 lanes * 3 instructions * 4096 tokens over 132 * 4
//         issue slots at 1.9 GHz = 0.20 ms
// Method  a CTA has 32 (64) rows of one head's state in registers; chunks of tokens are copied to
//         shared memory while the chunk before is scanned. About 66 instructions a warp and token:
//         48 of arithmetic, 12 to sum over lanes (mamba_math.cuh), 6 to load and store. dt x is
//         made once a chunk, in the four orders of rows that threads hold

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mamba.h"
#include "kernels/cuda/mamba_math.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32;
constexpr int kChunk = 16;  // tokens

template <int kLanes>
constexpr int kRows = kWarps* kSlots*(32 / kLanes);  // of a CTA

// What the scan reads of a chunk.
template <int kLanes>
struct __align__(16) Stage {
  float bc[kChunk][2][4 * kLanes];  // B, C of the head's group; zeros beyond the state
  float x[kChunk][kRows<kLanes>];
  float rates[2][kChunk];  // time_step, decay
};

// The part of a head that a CTA scans.
struct Part {
  int head, group, first_row, rows;
  int64_t first_token;  // of the segment
};

// The copies of a thread: the same ones of each chunk, so that addresses are made once.
template <int kLanes>
class ChunkCopies {
 public:
  __device__ __forceinline__ ChunkCopies(const MambaCall& a, const Part& part) {
    const int thread = threadIdx.x;
    token_stride_ = a.channels;
    const float* const convolved = a.convolved + part.first_token * a.channels;
    const int n = 4 * (thread % kLanes), is_c = thread / kLanes % 2;
    bc_token_ = n < a.state ? thread / (2 * kLanes) : kChunk;
    bc_ = convolved + bc_token_ * token_stride_ + a.inner +
          (is_c * a.groups + part.group) * a.state + n;
    const int row = 4 * (thread % kQuads);
    x_token_ = thread / kQuads;
    x_ = convolved + x_token_ * token_stride_ + part.head * a.head_dim + part.first_row + row;
    has_x_ = row < part.rows;
    rate_token_ = thread / 2;
    rate_stride_ = a.heads;
    rate_ = (thread % 2 == 0 ? a.time_step : a.decay) +
            (part.first_token + rate_token_) * rate_stride_ + part.head;
  }

  // The next chunk, of `count` tokens.
  __device__ __forceinline__ void copy(Stage<kLanes>& stage, int count) {
    const int thread = threadIdx.x;
    float* const bc = &stage.bc[0][0][0] + 4 * thread;
#pragma unroll
    for (int i = 0; i < kChunk / kBcTokens; ++i) {
      if (bc_token_ + i * kBcTokens < count)
        copy_async16(shared_address(bc + 4 * kThreads * i), bc_ + i * kBcTokens * token_stride_,
                     true);
    }
    if (x_token_ < count) copy_async16(shared_address(&stage.x[0][0] + 4 * thread), x_, has_x_);
    if (rate_token_ < count)
      copy_async4(shared_address(&stage.rates[thread % 2][rate_token_]), rate_, true);
    bc_ += kChunk * token_stride_;
    x_ += kChunk * token_stride_;
    rate_ += kChunk * rate_stride_;
  }

 private:
  static constexpr int kQuads = kRows<kLanes> / 4;
  static constexpr int kBcTokens = kThreads / (2 * kLanes);  // that the CTA copies at once
  static_assert(kChunk * kQuads <= kThreads && kChunk % kBcTokens == 0);
  const float *bc_, *x_, *rate_;
  int64_t token_stride_, rate_stride_;
  int bc_token_, x_token_, rate_token_;
  bool has_x_;
};

template <int kLanes>
__global__ void __launch_bounds__(kThreads, 2) scan(const MambaCall a, int fewest, int parts) {
  constexpr int kRowsHere = kRows<kLanes>, kOutputs = kChunk * kRowsHere / kThreads;
  __shared__ Stage<kLanes> stages[2];
  __shared__ __align__(16) float driven[kChunk][kSlots][kRowsHere];  // [order][row ^ order]
  __shared__ float sums_of[kChunk][kRowsHere];
  wait_for_inputs();
  let_next_start();
  const Segment segment = a.segments[blockIdx.y];
  if (segment.tokens < fewest) return;

  Part part;
  part.head = blockIdx.x / parts;
  part.group = part.head / (a.heads / a.groups);
  part.first_row = blockIdx.x % parts * kRowsHere;
  part.rows = min(kRowsHere, a.head_dim - part.first_row);
  part.first_token = segment.first_token;
  const int thread = threadIdx.x, n = 4 * (thread % kLanes);
  const int order = order_of_rows<kLanes>();
  const int base = thread / kLanes * kSlots;  // of the thread's rows
  float* const state_rows =
      a.ssm_state + ((segment.slot * a.heads + part.head) * a.head_dim + part.first_row) *
                        static_cast<int64_t>(a.state);
  float4 state[kSlots];
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const int row = base + (s ^ order);
    state[s] = make_float4(0, 0, 0, 0);
    if (segment.position != 0 && row < part.rows && n < a.state)
      state[s] =
          *reinterpret_cast<const float4*>(state_rows + static_cast<int64_t>(row) * a.state + n);
  }
  for (int i = thread; i < 2 * kChunk * 2 * 4 * kLanes; i += kThreads) {
    const int element = i % (4 * kLanes), row = i / (4 * kLanes);
    if (element >= a.state) stages[row / (2 * kChunk)].bc[row / 2 % kChunk][row % 2][element] = 0;
  }

  // Element i of a chunk's outputs that this thread gates: token i * kTokensApart + thread / rows.
  constexpr int kTokensApart = kThreads / kRowsHere;
  const int out_row = thread % kRowsHere, out_token = thread / kRowsHere;
  const int channel = part.head * a.head_dim + part.first_row + out_row;
  const float d = a.d[part.head];
  float z[kOutputs];

  const float* const my_driven = &driven[0][order][base];
  float* const my_sum = &sums_of[0][base + order];

  const int64_t chunks = (segment.tokens + kChunk - 1) / kChunk;
  const auto tokens_in = [&](int64_t chunk) {
    return static_cast<int>(min(static_cast<int64_t>(kChunk), segment.tokens - chunk * kChunk));
  };
  ChunkCopies<kLanes> copies(a, part);
  copies.copy(stages[0], tokens_in(0));
  commit_copies();
  for (int64_t chunk = 0; chunk <= chunks; ++chunk) {
    wait_for_copies<0>();
    __syncthreads();  // the chunk is here; the one before is scanned: sums_of is complete
    if (chunk > 0) {
      const Stage<kLanes>& before = stages[(chunk - 1) % 2];
      const int count = tokens_in(chunk - 1);
      const int64_t token = segment.first_token + (chunk - 1) * kChunk;
#pragma unroll
      for (int i = 0; i < kOutputs; ++i) {
        const int t = i * kTokensApart + out_token;
        if (t < count && out_row < part.rows)
          a.out[(token + t) * a.out_stride + channel] =
              gate(sums_of[t][out_row], d, before.x[t][out_row], z[i]);
      }
    }
    if (chunk == chunks) break;
    const Stage<kLanes>& stage = stages[chunk % 2];
    const int count = tokens_in(chunk);
    const int64_t token = segment.first_token + chunk * kChunk;
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) {
      const int t = i * kTokensApart + out_token;
      if (t < count) {
        const float v = stage.rates[0][t] * stage.x[t][out_row];
#pragma unroll
        for (int other = 0; other < kSlots; ++other) driven[t][other][out_row ^ other] = v;
      }
      z[i] = t < count && out_row < part.rows
                 ? a.projected[(token + t) * a.projected_stride + channel]
                 : 0.0f;
    }
    __syncthreads();  // driven is complete; sums_of and the other stage are free
    if (chunk + 1 < chunks) copies.copy(stages[(chunk + 1) % 2], tokens_in(chunk + 1));
    commit_copies();
    const float* const stage_b = &stage.bc[0][0][n];
    const float* const decays = stage.rates[1];
#pragma unroll 4
    for (int t = 0; t < count; ++t) {
      const float4 in = *reinterpret_cast<const float4*>(my_driven + t * kSlots * kRowsHere);
      const float4 b = *reinterpret_cast<const float4*>(stage_b + t * 8 * kLanes);
      const float4 c = *reinterpret_cast<const float4*>(stage_b + t * 8 * kLanes + 4 * kLanes);
      const float four[kSlots] = {in.x, in.y, in.z, in.w};
      float sums[kSlots];
      advance(state, decays[t], b, c, four, sums);
      my_sum[t * kRowsHere] = sum_rows<kLanes>(sums);  // the same in several lanes
    }
  }
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const int row = base + (s ^ order);
    if (row < part.rows && n < a.state)
      *reinterpret_cast<float4*>(state_rows + static_cast<int64_t>(row) * a.state + n) = state[s];
  }
}

template <int kLanes>
void launch_scan(const MambaCall& call, int fewest, cudaStream_t stream) {
  const int parts = (call.head_dim + kRows<kLanes> - 1) / kRows<kLanes>;
  launch(scan<kLanes>,
         {.grid = dim3(static_cast<unsigned>(call.heads * parts),
                       static_cast<unsigned>(call.segment_count)),
          .block = kThreads,
          .stream = stream},
         call, fewest, parts);
}

}  // namespace

bool mamba_scan_takes(const MambaCall& call) {
  return call.state % 4 == 0 && call.state <= 128 && call.head_dim % 4 == 0 &&
         call.inner / call.groups <= kMostGroupWidth && call.kernel <= kMostStepKernel &&
         (reinterpret_cast<uintptr_t>(call.ssm_state) & 15) == 0;
}

void mamba_scan(const MambaCall& call, int fewest, cudaStream_t stream) {
  if (call.state <= 64) return launch_scan<16>(call, fewest, stream);
  launch_scan<32>(call, fewest, stream);
}

}  // namespace hlwq::cuda
