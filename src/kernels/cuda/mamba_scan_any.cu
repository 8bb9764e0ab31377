// mamba_scan_any.cu: the selective scan for shapes that mamba_scan does not take.
// Math    as mamba_scan.cu; S . C: a lane's elements by fma ascending, lanes by halving distances
// Shapes  any head_dim and groups, state up to kMostState
// Bytes   as mamba_scan.cu; B and C are read by every row, from L1
// Floor   as mamba_scan.cu; this one is limited by latency, not tuned
// Method  a warp a row of the state, lane l elements l, l + 32, ... in registers

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mamba.h"
#include "kernels/cuda/mamba_math.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8, kElements = kMostState / 32;

__global__ void __launch_bounds__(kWarps * 32) scan_any(const MambaCall a, int fewest, int parts) {
  wait_for_inputs();
  let_next_start();
  const Segment segment = a.segments[blockIdx.y];
  const int head = blockIdx.x / parts, group = head / (a.heads / a.groups);
  const int p = blockIdx.x % parts * kWarps + threadIdx.x / 32;
  if (segment.tokens < fewest || p >= a.head_dim) return;
  const int lane = threadIdx.x % 32, channel = head * a.head_dim + p;
  float* const row = a.ssm_state + (segment.slot * a.inner + channel) * a.state;
  float state[kElements];
#pragma unroll
  for (int i = 0; i < kElements; ++i)
    state[i] = segment.position != 0 && lane + 32 * i < a.state ? row[lane + 32 * i] : 0.0f;
  const float d = a.d[head];
  for (int64_t t = segment.first_token; t < segment.first_token + segment.tokens; ++t) {
    const float* const convolved = a.convolved + t * a.channels;
    const float* const b = convolved + a.inner + group * a.state;
    const float* const c = b + a.groups * a.state;
    const float x = convolved[channel], decay = a.decay[t * a.heads + head];
    const float driven = a.time_step[t * a.heads + head] * x;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kElements; ++i) {
      const int n = lane + 32 * i;
      if (n >= a.state) continue;
      state[i] = fmaf(driven, b[n], decay * state[i]);
      sum = fmaf(state[i], c[n], sum);
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
      sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    if (lane == 0)
      a.out[t * a.out_stride + channel] =
          gate(sum, d, x, a.projected[t * a.projected_stride + channel]);
  }
#pragma unroll
  for (int i = 0; i < kElements; ++i)
    if (lane + 32 * i < a.state) row[lane + 32 * i] = state[i];
}

}  // namespace

void mamba_scan_any(const MambaCall& call, int fewest, cudaStream_t stream) {
  const int parts = (call.head_dim + kWarps - 1) / kWarps;
  launch(scan_any,
         {.grid = dim3(static_cast<unsigned>(call.heads * parts),
                       static_cast<unsigned>(call.segment_count)),
          .block = kWarps * 32,
          .stream = stream},
         call, fewest, parts);
}

}  // namespace hlwq::cuda
