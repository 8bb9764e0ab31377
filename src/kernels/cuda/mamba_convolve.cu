// mamba_convolve.cu: what the scan reads, for all tokens of segments longer than one.
// Math    convolved[t][j] = silu(bias[j] + sum_i w[j][i] raw[t - (kernel-1) + i][j]), by fma with i
//         ascending; time_step = clamp(softplus(dt + bias)), decay = exp(time_step A); then the
//         window becomes the last kernel-1 raw inputs
// Shapes  see mamba.h; any channels, heads, kernel
// Bytes   8 * tokens * channels + 12 * tokens * heads; 30B, 4096 tokens: 204 MB
// Floor   204 MB at 4.3 TB/s = 47 us
// Method  a thread has one column of kConvolveTokens tokens, inputs of kernel 4 in registers; the
//         thread of a segment's first tokens reads the old window and writes the new one

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mamba.h"
#include "kernels/cuda/mamba_math.cuh"
#include "kernels/cuda/segment_tiles.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;

// convolve() for `count` tokens from `first` on.
template <int kKernel>
__device__ __forceinline__ void convolve_run(const MambaCall& a, const RawColumn& raw, int column,
                                             int64_t first, int count, float* out) {
  if constexpr (kKernel == 0) {
    for (int t = 0; t < count; ++t)
      out[static_cast<int64_t>(t) * a.channels] = convolve(a, raw, column, first + t);
  } else {
    float weight[kKernel], input[kConvolveTokens + kKernel - 1];
#pragma unroll
    for (int i = 0; i < kKernel; ++i) weight[i] = a.conv_weight[column * kKernel + i];
    const float bias = a.conv_bias == nullptr ? 0.0f : a.conv_bias[column];
#pragma unroll
    for (int i = 0; i < kKernel - 1; ++i) input[i] = raw.at(first - (kKernel - 1) + i);
#pragma unroll
    for (int t = 0; t < kConvolveTokens; ++t)
      input[kKernel - 1 + t] = t < count ? raw.first[(first + t) * raw.stride] : 0.0f;
#pragma unroll
    for (int t = 0; t < kConvolveTokens; ++t) {
      float sum = bias;
#pragma unroll
      for (int i = 0; i < kKernel; ++i) sum = fmaf(weight[i], input[t + i], sum);
      if (t < count) out[static_cast<int64_t>(t) * a.channels] = silu(sum);
    }
  }
}

template <int kKernel>
__global__ void __launch_bounds__(kThreads) convolve_tiles(const MambaCall a, TileRule rule) {
  wait_for_inputs();
  let_next_start();
  const SegmentTile at = find_tile(rule, a.segments, a.segment_count, blockIdx.y);
  const Segment segment = a.segments[at.segment];
  const int64_t first = at.tile * kConvolveTokens;
  const int count =
      static_cast<int>(min(static_cast<int64_t>(kConvolveTokens), segment.tokens - first));
  const int64_t token = segment.first_token + first;
  const int column = static_cast<int>(blockIdx.x) * kThreads + threadIdx.x;
  if (column < a.channels) {
    const RawColumn raw = raw_column(a, segment, column);
    convolve_run<kKernel>(a, raw, column, first, count, a.convolved + token * a.channels + column);
    if (first == 0) move_window(a, segment, raw, column);
  } else if (const int head = column - a.channels; head < a.heads) {
    const float* raw = a.projected + token * a.projected_stride + a.inner + a.channels + head;
    const HeadRates of_head = head_rates(a, head);
    for (int t = 0; t < count; ++t) {
      const Rates rates = of_head.at(raw[t * a.projected_stride]);
      a.time_step[(token + t) * a.heads + head] = rates.time_step;
      a.decay[(token + t) * a.heads + head] = rates.decay;
    }
  }
}

}  // namespace

void mamba_convolve(const MambaCall& call, int fewest, int64_t tiles, cudaStream_t stream) {
  const TileRule rule{.fewest = fewest, .rows_of_token = 1, .rows_of_tile = kConvolveTokens};
  launch(
      call.kernel == 4 ? convolve_tiles<4> : convolve_tiles<0>,
      {.grid = dim3(static_cast<unsigned>((call.channels + call.heads + kThreads - 1) / kThreads),
                    static_cast<unsigned>(tiles)),
       .block = kThreads,
       .stream = stream},
      call, rule);
}

}  // namespace hlwq::cuda
