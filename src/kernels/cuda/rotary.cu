// rotary.cu: rotary positions of queries and keys.
// Math    (x[i], x[i + d/2]) turned by the angle of i at the token's position (ops/rotary.h)
// Shapes  q f32[tokens][heads*d], k f32[tokens][kv_heads*d], in place; table f32[positions][d]: the
//         cosines of d/2 angles, then their sines; any even d
// Bytes   tokens * (8 (heads + kv_heads) d + 4 d); SmolLM2-135M (9 + 3 heads of 64), a token: 6 KB
// Floor   a launch
// Method  a CTA a token, a thread a pair; positions from device memory, so that a recorded step may
//         be replayed

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rotary.h"
#include "ops/rotary.h"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) turn_heads(const RotaryCall call) {
  let_next_start();
  wait_for_inputs();
  const int64_t token = blockIdx.x;
  const Segment segment = call.segments[call.token_segment[token]];
  const int64_t position = segment.position + token - segment.first_token;
  const float* const cosines = call.table + position * call.head_dim;
  const int pairs = call.head_dim / 2;
  const float* const sines = cosines + pairs;
  float* const q = call.q + token * call.q_stride;
  float* const k = call.k + token * call.k_stride;
  for (int at = threadIdx.x; at < (call.heads + call.kv_heads) * pairs; at += kThreads) {
    const int head = at / pairs, i = at % pairs;
    float* const x =
        head < call.heads ? q + head * call.head_dim : k + (head - call.heads) * call.head_dim;
    const TurnedPair turned = turn_pair(x[i], x[pairs + i], cosines[i], sines[i]);
    x[i] = turned.first;
    x[pairs + i] = turned.second;
  }
}

}  // namespace

void rotary(const RotaryCall& call, cudaStream_t stream) {
  launch(turn_heads,
         {.grid = static_cast<unsigned>(call.tokens), .block = kThreads, .stream = stream}, call);
}

}  // namespace hlwq::cuda
