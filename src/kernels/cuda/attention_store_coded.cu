// attention_store_coded.cu: keys and values of a step, as codes and exactly.
// Math    as quant/kv_codec.cc, bit for bit: rotate, search a scale, nearest levels
// Shapes  k, v f32[tokens][kv_heads*head_dim]; pages as in ops/kv_pages.h; head_dim a power of two
//         from 32 to 256
// Bytes   tokens * 2 * kv_heads * head_dim * (4 + 2 + bits / 8)
// Floor   not memory: some 600 instructions a vector of 128; 30B, 4096 tokens: 16,384 vectors, 20
// us Method  a warp a vector

#include "kernels/cuda/attention.h"
#include "kernels/cuda/kv_encode.cuh"
#include "kernels/cuda/launch.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 4;

template <int kPerLane>
__global__ void __launch_bounds__(kWarps * 32) store_coded(const AttentionCall a, int fewest) {
  wait_for_inputs();
  let_next_start();
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int64_t token = at / (2 * a.kv_heads);
  if (token >= a.tokens) return;
  const int head = static_cast<int>(at % (2 * a.kv_heads)), kv_head = head % a.kv_heads;
  const bool is_value = head >= a.kv_heads;
  const Segment segment = a.segments[a.token_segment[token]];
  if (segment.tokens < fewest) return;
  const int64_t position = segment.position + token - segment.first_token;
  const int64_t page = position / kPageTokens;
  const int in_page = static_cast<int>(position % kPageTokens);
  const int32_t* const table = a.tables + segment.slot * a.table_stride;
  const int bits = is_value ? a.value_bits : a.key_bits;
  const float* const from = is_value ? a.v + token * a.v_stride : a.k + token * a.k_stride;
  LaneVector<kPerLane> vector;
  vector.load(from + kv_head * a.head_dim, bits);
  vector.put(ring_half(a, segment.slot, page, kv_head, is_value) + in_page * a.head_dim, bits);
  vector.encode(page_section(a, table, page, kv_head, is_value), bits, in_page);
}

template <int kPerLane>
void launch_store(const AttentionCall& call, int fewest, cudaStream_t stream) {
  const int64_t vectors = call.tokens * 2 * call.kv_heads;
  launch(store_coded<kPerLane>,
         {.grid = static_cast<unsigned>((vectors + kWarps - 1) / kWarps),
          .block = kWarps * 32,
          .stream = stream},
         call, fewest);
}

}  // namespace

void attention_store_coded(const AttentionCall& call, int fewest, cudaStream_t stream) {
  switch (call.head_dim) {
    case 32:
      return launch_store<1>(call, fewest, stream);
    case 64:
      return launch_store<2>(call, fewest, stream);
    case 128:
      return launch_store<4>(call, fewest, stream);
    default:
      return launch_store<8>(call, fewest, stream);
  }
}

}  // namespace hlwq::cuda
