// attention_store.cu: keys and values of a step into the pages.
// Math    elements of k and v, clamped to what FP16 holds and rounded to even (F16), or as they are
// Shapes  k, v f32[tokens][kv_heads*head_dim]; pages as in ops/backend.h; any shape
// Bytes   tokens * 2 * kv_heads * head_dim * (4 + element); 30B, 4096 tokens: 12.6 MB
// Floor   12.6 MB at 4.3 TB/s = 3 us
// Method  a CTA a token

#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_math.cuh"
#include "kernels/cuda/launch.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) store_tokens(const AttentionCall a, int fewest) {
  wait_for_inputs();
  let_next_start();
  const int64_t token = blockIdx.x;
  const Segment segment = a.segments[a.token_segment[token]];
  if (segment.tokens < fewest) return;
  const int64_t position = segment.position + token - segment.first_token;
  const int64_t page = a.tables[segment.slot * a.table_stride + position / kPageTokens];
  unsigned char* const memory = a.pages + page * a.page_bytes;
  const int width = a.kv_heads * a.head_dim;
  for (int i = threadIdx.x; i < 2 * width; i += kThreads) {
    const bool is_value = i >= width;
    const int column = is_value ? i - width : i;
    const float value =
        is_value ? a.v[token * a.v_stride + column] : a.k[token * a.k_stride + column];
    // i / head_dim counts the KV heads of the keys, then of the values.
    const int64_t at =
        (static_cast<int64_t>(i / a.head_dim) * kPageTokens + position % kPageTokens) * a.head_dim +
        i % a.head_dim;
    if (a.half) {
      reinterpret_cast<__half*>(memory)[at] = to_half(value);
    } else {
      reinterpret_cast<float*>(memory)[at] = value;
    }
  }
}

}  // namespace

void attention_store(const AttentionCall& call, int fewest, cudaStream_t stream) {
  launch(store_tokens,
         {.grid = static_cast<unsigned>(call.tokens), .block = kThreads, .stream = stream}, call,
         fewest);
}

}  // namespace hlwq::cuda
