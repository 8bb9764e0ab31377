// tiled5_few.cu: y = W x for a few rows of x, 8 a tile, W in kTiled5 codes.
// Math    ops/integer_dot.h; a warp computes chunk sums (kChunkBlocks blocks), which are added in
//         ascending order by one thread an output
// Shapes  W [rows][blocks*128] in tiles of 8 rows, x i8[tokens][blocks*128] -> y f32[tokens][rows];
//         up to four W that share x
// Bytes   rows * blocks * 82 (+ x, y): in_proj of the 30B 17.7 MB
// Floor   17.7 MB at 4.4 TB/s: 4.0 us
// Method  a CTA for two tiles of rows, a warp a chunk: all of a warp's codes are requested before
//         it waits for x. Tensor cores (mma s8) take 8 columns at a time, some of them empty: the
//         codes, not the products, are what takes time
// Source  own

#include <cuda_fp16.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tiled5_codes.cuh"
#include "ops/integer_dot.h"

namespace hlwq::cuda {
namespace {

constexpr int kTiles = 2;  // of a CTA: the 16 rows of a tensor core operand
constexpr int kMostWarps = 8;
constexpr int64_t kMostChunks = 96;  // of a row: 48 KiB of chunk sums

struct FewArgs {
  QuantizedRows x;
  int tokens, token_tiles;
  ProductTargets targets;
  int first_unit[kMostTargets + 1];  // of each target; the last is their number
  Tiled5Table codes;
};

// What one CTA computes: rows [8 * tile, ...) of a matrix for x rows first_row ..
struct Unit {
  const std::byte* matrix;
  int rows, tile;
  int columns;    // rows of x
  int first_row;  // of x
  float* y;       // of column 0
  int64_t y_stride;
  const float* bias;
  bool accumulate;
};

__device__ __forceinline__ Unit unit_of(const FewArgs& a, int index) {
  const int units = a.first_unit[kMostTargets];
  const int token_tile = index / units, unit = index % units;
  int which = 0;
  while (which + 1 < a.targets.count && unit >= a.first_unit[which + 1]) ++which;
  const ProductTarget& target = a.targets.target[which];
  const int first = token_tile * kFewRows;
  return {.matrix = target.matrix,
          .rows = static_cast<int>(target.rows),
          .tile = (unit - a.first_unit[which]) * kTiles,
          .columns = min(kFewRows, a.tokens - first),
          .first_row = first,
          .y = target.y + first * target.y_stride,
          .y_stride = target.y_stride,
          .bias = target.bias,
          .accumulate = target.accumulate};
}

// The codes of one chunk of blocks (D1) of kTiles consecutive tiles, as one lane holds them.
struct ChunkCodes {
  uint4 indices[kChunkBlocks][kTiles];
  uint32_t signs[kChunkBlocks][kTiles];
  uint16_t norms[kChunkBlocks][kTiles];
};

// Loads a chunk's blocks [first_block, min(first_block + kChunkBlocks, blocks)); what lies beyond
// the blocks or tiles of the matrix becomes zero.
__device__ __forceinline__ void load_codes(ChunkCodes& codes, const std::byte* matrix, int blocks,
                                           int tiles, int tile, int first_block) {
  const int lane = threadIdx.x % 32;
  const std::byte* signs = matrix + static_cast<int64_t>(tiles) * blocks * 512;
  const std::byte* norms = signs + static_cast<int64_t>(tiles) * blocks * 128;
#pragma unroll
  for (int i = 0; i < kChunkBlocks; ++i) {
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      codes.indices[i][t] = make_uint4(0, 0, 0, 0);
      codes.signs[i][t] = 0;
      codes.norms[i][t] = 0;
      if (first_block + i < blocks && tile + t < tiles) {
        const int64_t at = static_cast<int64_t>(tile + t) * blocks + first_block + i;
        codes.indices[i][t] = load_weights16(matrix + at * 512 + lane * 16);
        codes.signs[i][t] = load_weights4(signs + at * 128 + lane * 4);
        codes.norms[i][t] = load_weights2(norms + at * 16 + (lane / 4) * 2);
      }
    }
  }
}

// Of one chunk: sums[tile][column] of row lane / 4 and columns 2 * (lane % 4) and the next.
__device__ __forceinline__ void multiply_chunk(const FewArgs& a, const Unit& unit,
                                               const ChunkCodes& codes, int first_block,
                                               float (&sums)[kTiles][2]) {
  const int lane = threadIdx.x % 32, column = lane / 4, quarter = lane % 4;
  const auto blocks = static_cast<int>(a.x.blocks);
  const int count = min(kChunkBlocks, blocks - first_block);
  // Everything of x this lane needs, requested at once.
  uint4 xq[kChunkBlocks][2];
  float scale[kChunkBlocks][2];
  int32_t sum[kChunkBlocks][2];
  const bool has_column = column < unit.columns;
  const int64_t x_block =
      has_column ? static_cast<int64_t>(unit.first_row + column) * blocks + first_block : 0;
  int64_t scale_block[2];
  bool has_scale[2];
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const int scale_column = 2 * quarter + c;
    has_scale[c] = scale_column < unit.columns;
    scale_block[c] =
        has_scale[c] ? static_cast<int64_t>(unit.first_row + scale_column) * blocks + first_block
                     : 0;
  }
#pragma unroll
  for (int i = 0; i < kChunkBlocks; ++i) {
    const uint4* from =
        reinterpret_cast<const uint4*>(a.x.xq + (x_block + i) * kBlock + 32 * quarter);
    const bool in = i < count;
    xq[i][0] = in && has_column ? from[0] : make_uint4(0, 0, 0, 0);
    xq[i][1] = in && has_column ? from[1] : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      scale[i][c] = in && has_scale[c] ? a.x.sx[scale_block[c] + i] : 0.0f;
      sum[i][c] = in && has_scale[c] ? a.x.sum[scale_block[c] + i] : 0;
    }
  }
#pragma unroll
  for (int t = 0; t < kTiles; ++t) sums[t][0] = sums[t][1] = 0.0f;
#pragma unroll
  for (int i = 0; i < kChunkBlocks; ++i) {
    if (i >= count) break;
    int32_t dot[4] = {0, 0, 0, 0};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const auto word = [&](const uint4& v) {
        return j == 0 ? v.x : j == 1 ? v.y : j == 2 ? v.z : v.w;
      };
      const Weights8 w0 = decode_weights(a.codes, word(codes.indices[i][0]), codes.signs[i][0], j);
      const Weights8 w1 = decode_weights(a.codes, word(codes.indices[i][1]), codes.signs[i][1], j);
      const uint4& half = xq[i][j / 2];
      multiply_add(dot, w0.low, w1.low, w0.high, w1.high, j % 2 == 0 ? half.x : half.z,
                   j % 2 == 0 ? half.y : half.w);
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const float norm = __half2float(__ushort_as_half(codes.norms[i][t]));
#pragma unroll
      for (int c = 0; c < 2; ++c)
        sums[t][c] = add_block(norm, scale[i][c] * a.codes.factor,
                               centered_dot(dot[2 * t + c], sum[i][c]), sums[t][c]);
    }
  }
}

__global__ void __launch_bounds__(kMostWarps * 32) tiled5_few_rows(const FewArgs a) {
  extern __shared__ float chunk_sums[];  // [chunks][kTiles * 8][kFewRows]
  const auto blocks = static_cast<int>(a.x.blocks);
  const int chunks = (blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  let_next_start();
  const Unit unit = unit_of(a, blockIdx.x);
  ChunkCodes codes;
  load_codes(codes, unit.matrix, blocks, (unit.rows + 7) / 8, unit.tile, warp * kChunkBlocks);
  wait_for_inputs();
  for (int chunk = warp; chunk < chunks; chunk += warps) {
    if (chunk != warp)
      load_codes(codes, unit.matrix, blocks, (unit.rows + 7) / 8, unit.tile, chunk * kChunkBlocks);
    float sums[kTiles][2];
    multiply_chunk(a, unit, codes, chunk * kChunkBlocks, sums);
    float* out = chunk_sums + chunk * kTiles * 8 * kFewRows;
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const int row = t * 8 + lane / 4;
      out[row * kFewRows + lane % 4 * 2] = sums[t][0];
      out[row * kFewRows + lane % 4 * 2 + 1] = sums[t][1];
    }
  }
  __syncthreads();  // every chunk's sums are there before they are added up
  for (int i = threadIdx.x; i < kTiles * 8 * kFewRows; i += blockDim.x) {
    const int column = i / (kTiles * 8), row = i % (kTiles * 8);  // neighbours write neighbours
    const int64_t out_row = static_cast<int64_t>(unit.tile) * 8 + row;
    if (column >= unit.columns || out_row >= unit.rows) continue;
    float total = 0;
    for (int chunk = 0; chunk < chunks; ++chunk)
      total += chunk_sums[(chunk * kTiles * 8 + row) * kFewRows + column];
    float* y = unit.y + column * unit.y_stride + out_row;
    *y = finish_product(total, unit.bias == nullptr ? nullptr : unit.bias + out_row,
                        unit.accumulate ? y : nullptr);
  }
}

}  // namespace

void tiled5_few(const QuantizedRows& x, int64_t tokens, const ProductTargets& targets,
                const Tiled5Table& codes, cudaStream_t stream) {
  const auto units_of = [](int64_t rows) {
    return static_cast<int>((rows + 8 * kTiles - 1) / (8 * kTiles));
  };
  FewArgs args = {.x = x,
                  .tokens = static_cast<int>(tokens),
                  .token_tiles = static_cast<int>((tokens + kFewRows - 1) / kFewRows),
                  .targets = targets,
                  .first_unit = {},
                  .codes = codes};
  int units = 0;
  for (int i = 0; i < kMostTargets; ++i) {
    args.first_unit[i] = units;
    if (i < targets.count) units += units_of(targets.target[i].rows);
  }
  args.first_unit[kMostTargets] = units;
  const int64_t ctas = static_cast<int64_t>(units) * args.token_tiles;
  if (ctas == 0) return;
  const auto chunks = static_cast<int>((x.blocks + kChunkBlocks - 1) / kChunkBlocks);
  const int warps = chunks < kMostWarps ? chunks : kMostWarps;
  const size_t shared = static_cast<size_t>(chunks) * kTiles * 8 * kFewRows * sizeof(float);
  launch(tiled5_few_rows,
         {.grid = static_cast<unsigned>(ctas),
          .block = static_cast<unsigned>(warps * 32),
          .shared_bytes = shared,
          .stream = stream},
         args);
}

bool tiled5_few_takes(int64_t blocks) { return blocks <= kMostChunks * kChunkBlocks; }

}  // namespace hlwq::cuda
