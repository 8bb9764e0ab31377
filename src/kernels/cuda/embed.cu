// embed.cu: rows of a table as FP32, coded or plain.
// Math    coded: decode_block of ops/integer_dot.h, w = (norm * factor) * float(T) with T the
//         butterfly of 2 v[code] + 1: integers below 2^23, exact in any order
// Shapes  table [rows][cols], ids i32[tokens] -> y f32[tokens][cols]; any cols
// Bytes   a row read, 4 * cols written; 4096 tokens of 2688: 44 MB written
// Floor   one token: a launch; 4096: 10 us
// Method  a warp for 128 columns of a token, four neighbours a lane; strides 1 and 2 of the
//         butterfly stay in the lane, 4 .. 64 are exchanges with the lanes at distance 1 .. 16

#include <cuda_fp16.h>

#include "kernels/cuda/coded_lanes.cuh"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rotate_quantize.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8;

struct EmbedArgs {
  const int32_t* ids;
  int64_t tokens, blocks;
  EmbedTable table;
  float* y;
  int64_t y_stride;
};

// The token and block of the calling warp; false: none is left for it.
__device__ __forceinline__ bool find_block(const EmbedArgs& a, int64_t& token, int64_t& block) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  token = at / a.blocks;
  block = at % a.blocks;
  return token < a.tokens;
}

__device__ __forceinline__ void store_lane(const EmbedArgs& a, int64_t token, int64_t block,
                                           const float (&w)[4]) {
  const int64_t col = block * kBlock + threadIdx.x % 32 * 4;
  float* y = a.y + token * a.y_stride + col;
  if (reinterpret_cast<uintptr_t>(y) % 16 == 0 && col + 4 <= a.table.cols) {
    *reinterpret_cast<float4*>(y) = make_float4(w[0], w[1], w[2], w[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (col + i < a.table.cols) y[i] = w[i];
}

template <PlainType kType>
__device__ __forceinline__ float plain_at(const std::byte* table, int64_t at) {
  if constexpr (kType == PlainType::kF32) return reinterpret_cast<const float*>(table)[at];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(table)[at];
  if constexpr (kType == PlainType::kF16) return __half2float(__ushort_as_half(bits));
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}

template <PlainType kType>
__global__ void __launch_bounds__(kWarps * 32)
    embed_plain_rows(const __grid_constant__ EmbedArgs a) {
  wait_for_inputs();
  let_next_start();
  int64_t token, block;
  if (!find_block(a, token, block)) return;
  const int64_t row = a.ids[token], first = block * kBlock + threadIdx.x % 32 * 4;
  float w[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    w[i] = first + i < a.table.cols ? plain_at<kType>(a.table.data, row * a.table.cols + first + i)
                                    : 0.0f;
  store_lane(a, token, block, w);
}

__global__ void __launch_bounds__(kWarps * 32)
    embed_coded_rows(const __grid_constant__ EmbedArgs a) {
  const CodedForm& form = a.table.form;
  __shared__ int16_t levels[256];
  for (int k = threadIdx.x; k < 1 << form.bits; k += kWarps * 32) levels[k] = form.levels[k];
  __syncthreads();  // the levels are there before anyone looks one up
  wait_for_inputs();
  let_next_start();
  int64_t token, block;
  if (!find_block(a, token, block)) return;
  const int64_t row = a.ids[token];
  uint32_t codes[4];
  load_lane_codes(codes, form, a.table.data, a.table.rows, a.blocks, row, block);
  const float scale =
      load_norm(form, a.table.data, a.table.rows, a.blocks, row, block) * form.factor;
  int32_t odd[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) odd[i] = 2 * levels[codes[i]] + 1;
  rotate_block(odd);
  float w[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) w[i] = scale * static_cast<float>(odd[i]);
  store_lane(a, token, block, w);
}

}  // namespace

void embed_rows(const int32_t* ids, int64_t tokens, const EmbedTable& table, float* y,
                int64_t y_stride, cudaStream_t stream) {
  if (tokens == 0) return;
  const int64_t blocks = blocks_of(table.cols);
  const auto kernel = table.coded                     ? embed_coded_rows
                      : table.type == PlainType::kF32 ? embed_plain_rows<PlainType::kF32>
                      : table.type == PlainType::kF16 ? embed_plain_rows<PlainType::kF16>
                                                      : embed_plain_rows<PlainType::kBF16>;
  launch(kernel,
         {.grid = static_cast<unsigned>((tokens * blocks + kWarps - 1) / kWarps),
          .block = kWarps * 32,
          .stream = stream},
         EmbedArgs{.ids = ids,
                   .tokens = tokens,
                   .blocks = blocks,
                   .table = table,
                   .y = y,
                   .y_stride = y_stride});
}

}  // namespace hlwq::cuda
