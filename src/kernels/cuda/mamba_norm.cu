// mamba_norm.cu: the gated group norm of long segments, in place, with the int8 form.
// Math    out = w v / sqrt(mean over the group of v^2 + eps); then as rotate_quantize.cu
// Shapes  v, out f32[tokens][inner] in groups of inner / groups; int8 when that is whole blocks
// Bytes   9 * tokens * inner; 30B, 4096 tokens: 151 MB
// Floor   151 MB at 4.3 TB/s = 35 us
// Method  a warp a group of a token, its blocks of 128 in turn; the second look is at L1

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/mamba.h"
#include "kernels/cuda/mamba_norm.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8;

__global__ void __launch_bounds__(kWarps * 32) norm_groups(const MambaCall a, int fewest) {
  let_next_start();
  wait_for_inputs();
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int64_t token = at / a.groups;
  if (token >= a.tokens || a.segments[a.token_segment[token]].tokens < fewest) return;
  const NormGroup g = norm_group(a, token, static_cast<int>(at % a.groups));
  const int lane = threadIdx.x % 32;
  float v[4], squares = 0;
  for (int block = 0; block < g.blocks; ++block) {
    load_lane4(v, g.rows.x, block * kBlock + 4 * lane, static_cast<int>(g.rows.width), g.aligned);
    squares += sum_of_squares(v);
  }
  const float scale = root_scale(squares, g.rows);
  for (int block = 0; block < g.blocks; ++block) {
    load_lane4(v, g.rows.x, block * kBlock + 4 * lane, static_cast<int>(g.rows.width), g.aligned);
    write_block(g, block, v, scale);
  }
}

}  // namespace

void mamba_norm(const MambaCall& call, int fewest, cudaStream_t stream) {
  const int64_t groups = call.tokens * call.groups;
  launch(norm_groups,
         {.grid = static_cast<unsigned>((groups + kWarps - 1) / kWarps),
          .block = kWarps * 32,
          .stream = stream},
         call, fewest);
}

}  // namespace hlwq::cuda
