// silu_gate.cu: the hidden layer of a gated MLP, and its int8 form (D1).
// Math    h = g / (1 + e^-g) * u; then z = butterfly(h_b), sx = max|z| / 127, xq = rint(z / sx)
// Shapes  g, u f32[rows][cols] -> h f32[rows][cols], xq i8[rows][blocks*128], sx f32, sum i32
//         [rows][blocks]; any cols >= 1
// Bytes   rows * cols * 13 + rows * blocks * 8; SmolLM2-135M (1536), a token: 20 KB
// Floor   a launch
// Method  a warp a block, as rotate_quantize.cu

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rotate_quantize.cuh"
#include "kernels/cuda/silu_gate.h"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8;

__device__ __forceinline__ bool aligned(const float* row) {
  return (reinterpret_cast<uintptr_t>(row) & 15) == 0;
}

__global__ void __launch_bounds__(kWarps * 32) silu_gate_rows(const SiluGateRows call, int blocks) {
  let_next_start();
  wait_for_inputs();
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (at >= call.rows * blocks) return;  // whole warps
  const int64_t row = at / blocks;
  const int lane = threadIdx.x % 32, cols = static_cast<int>(call.cols);
  const int first = static_cast<int>(at % blocks) * kBlock + 4 * lane;
  const float* const gate = call.gate + row * call.gate_stride;
  const float* const up = call.up + row * call.up_stride;
  float h[4], u[4];
  load_lane4(h, gate, first, cols, aligned(gate));
  load_lane4(u, up, first, cols, aligned(up));
#pragma unroll
  for (int i = 0; i < 4; ++i) h[i] = __fdiv_rn(h[i], 1.0f + expf(-h[i])) * u[i];
  float* const out = call.out + row * call.out_stride;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (first + i < cols) out[first + i] = h[i];
  if (call.xq == nullptr) return;
  const LaneBlock q = rotate_quantize_lanes(h);
  reinterpret_cast<uint32_t*>(call.xq + at * kBlock)[lane] = q.xq;
  if (lane == 0) {
    call.sx[at] = q.sx;
    call.sum[at] = q.sum;
    if (!q.finite) *call.non_finite = 1;
  }
}

}  // namespace

void silu_gate(const SiluGateRows& call, cudaStream_t stream) {
  const int64_t blocks = blocks_of(call.cols), all = call.rows * blocks;
  if (all == 0) return;
  launch(silu_gate_rows,
         {.grid = static_cast<unsigned>((all + kWarps - 1) / kWarps),
          .block = kWarps * 32,
          .stream = stream},
         call, static_cast<int>(blocks));
}

}  // namespace hlwq::cuda
