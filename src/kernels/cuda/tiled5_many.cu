// tiled5_many.cu: y = W x for many rows of x, W in kTiled5 codes, on int8 tensor cores: prefill.
// Math    ops/integer_dot.h, bit for bit: int32 over a block, then one fma into the chunk's sum,
//         chunk sums added ascending
// Shapes  as tiled5_few.cu
// Work    2 * rows * blocks * 128 * tokens operations; 30B: 6.4 G a token. Per block and output
//         four FP32 instructions beside 128 products, per 16 weights 24 instructions to decode them
// Floor   decode, scale and issue bound: about 40 % of the card's int8 rate (1,979 T/s on sm_90)
// Method  a CTA for some warps * 16 rows of W and 8 * kColumnTiles rows of x; a warp for 16 rows of
//         W, whose codes it decodes straight into operand registers (no shared memory for weights);
//         x comes by cp.async, two blocks a stage; the order of weights within a block is that of
//         the codes on both sides (tiled5_codes.cuh). float(t) by adding 1.5 * 2^23: |t| < 2^22,
//         exact
// Source  own

#include <cuda_fp16.h>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/tiled5_codes.cuh"
#include "ops/integer_dot.h"

namespace hlwq::cuda {
namespace {

constexpr int kStageBlocks = 2;
constexpr int kStages = 4;
// float(t) without a conversion: the bits of 1.5 * 2^23 plus t are the float 1.5 * 2^23 + t, exact
// for |t| < 2^22. t is twice the dot product and more, so that starts at half of those bits.
constexpr float kBias = 12582912.0f;
constexpr int32_t kHalfBias = 0x4b400000 / 2;

struct ManyArgs {
  QuantizedRows x;
  int tokens, token_tiles;
  ProductTargets targets;
  int first_unit[kMostTargets + 1];  // in row tiles of a CTA; the last is their number
  Tiled5Table codes;
  Tiled5Experts experts;
  int expert_units;
};

struct Unit {
  const std::byte* matrix;
  int rows, first_tile;  // of W, in tiles of 8
  int columns, first_row;
  const int32_t* input_row;
  float* y;
  int64_t y_stride;
  const float* bias;
  bool accumulate;
};

// False: nothing to do.
template <int kColumns, int kTiles>
__device__ __forceinline__ bool unit_of(const ManyArgs& a, Unit& unit) {
  const int dense_units = a.first_unit[kMostTargets] * a.token_tiles;
  auto index = static_cast<int>(blockIdx.x);
  if (index < dense_units) {
    const int units = a.first_unit[kMostTargets];
    const int at = index % units, first = index / units * kColumns;
    int which = 0;
    while (which + 1 < a.targets.count && at >= a.first_unit[which + 1]) ++which;
    const ProductTarget& target = a.targets.target[which];
    unit = {target.matrix,
            static_cast<int>(target.rows),
            (at - a.first_unit[which]) * kTiles,
            min(kColumns, a.tokens - first),
            first,
            nullptr,
            target.y + first * target.y_stride,
            target.y_stride,
            target.bias,
            target.accumulate};
    return true;
  }
  index -= dense_units;
  const Tiled5Experts& experts = a.experts;
  const int at = index / a.expert_units;
  if (experts.tile_count != nullptr && at >= *experts.tile_count) return false;
  const ExpertTile tile = experts.tiles[at];
  const ExpertAddress& entry = experts.table[tile.expert];
  unit = {experts.down ? entry.down : entry.up,
          static_cast<int>(experts.rows),
          index % a.expert_units * kTiles,
          tile.pairs,
          tile.first_pair,
          experts.input_row,
          experts.y + tile.first_pair * experts.y_stride,
          experts.y_stride,
          nullptr,
          false};
  return true;
}

// The codes of one block of a warp's 16 rows.
struct BlockCodes {
  uint4 indices[2];
  uint32_t signs[2];
  uint16_t norms[2];
};

template <int kColumnTiles>
struct Shared {
  static constexpr int kColumns = 8 * kColumnTiles;
  // Row r's 16-byte piece p lies at p ^ (r & 1): the eight lanes that read together meet all banks.
  uint4 xq[kStages][kStageBlocks][kColumns][8];
  float scale[kStages][kStageBlocks][kColumns];
  int32_t sum[kStages][kStageBlocks][kColumns];
  int32_t row[kColumns];  // of x
};

template <int kColumnTiles, int kWarps, int kCtas>
__global__ void __launch_bounds__(kWarps * 32, kCtas) tiled5_many_rows(const ManyArgs a) {
  constexpr int kColumns = 8 * kColumnTiles;
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  auto& shared = *reinterpret_cast<Shared<kColumnTiles>*>(shared_bytes);
  wait_for_inputs();
  let_next_start();
  Unit unit;
  if (!unit_of<kColumns, kWarps * 2>(a, unit)) return;
  if (unit.matrix == nullptr) {
    if (a.experts.down) return;
    const int first = unit.first_tile * 8, rows = min(kWarps * 16, unit.rows - first);
    for (int i = threadIdx.x; i < unit.columns * rows; i += kWarps * 32)
      unit.y[i / rows * unit.y_stride + first + i % rows] = 0.0f;
    return;
  }
  const bool expert = static_cast<int>(blockIdx.x) >= a.first_unit[kMostTargets] * a.token_tiles;
  const Tiled5Table table = expert ? a.experts.codes : a.codes;
  const auto blocks = static_cast<int>(a.x.blocks);
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int row = lane / 4, quarter = lane % 4;

  for (int c = thread; c < kColumns; c += kWarps * 32) {
    const int from = unit.first_row + c;
    shared.row[c] = c >= unit.columns           ? -1
                    : unit.input_row == nullptr ? from
                                                : unit.input_row[from];
  }
  __syncthreads();  // row is read by every thread that copies

  const int stages = (blocks + kStageBlocks - 1) / kStageBlocks;
  // What this thread copies of every stage: one 16-byte piece of every block of some rows of x, and
  // perhaps a scale or a sum. Places are counted in what is copied, to fit 32 bits.
  constexpr int kThreads = kWarps * 32;
  constexpr int kRowSets = (kColumns * 8 + kThreads - 1) / kThreads;
  static_assert(kStageBlocks * kColumns * 2 <= kThreads);
  uint32_t x_from[kRowSets], x_to[kRowSets];
  bool x_valid[kRowSets];
#pragma unroll
  for (int i = 0; i < kRowSets; ++i) {
    const int c = thread / 8 + i * (kThreads / 8), piece = thread % 8;
    const int from = c < kColumns ? shared.row[c] : -1;
    x_valid[i] = from >= 0;
    x_from[i] = static_cast<uint32_t>(max(from, 0)) * static_cast<uint32_t>(blocks * 8) +
                static_cast<uint32_t>(piece);
    x_to[i] = shared_address(&shared.xq[0][0][c % kColumns][piece ^ (c & 1)]);
  }
  const int scale_block = thread / kColumns % kStageBlocks, scale_column = thread % kColumns;
  const bool is_sum = thread >= kStageBlocks * kColumns;
  const int scale_row = thread < kStageBlocks * kColumns * 2 ? shared.row[scale_column] : -1;
  const auto* const scales =
      is_sum ? reinterpret_cast<const float*>(a.x.sum) : a.x.sx;  // four bytes either way
  uint32_t scale_from = static_cast<uint32_t>(max(scale_row, 0)) * static_cast<uint32_t>(blocks) +
                        static_cast<uint32_t>(scale_block);
  const uint32_t scale_to = is_sum ? shared_address(&shared.sum[0][scale_block][scale_column])
                                   : shared_address(&shared.scale[0][scale_block][scale_column]);
  int copied = 0;          // blocks asked for so far
  uint32_t copy_slot = 0;  // where the next stage goes
  const auto copy_stage = [&] {
    if (copied < blocks) {
#pragma unroll
      for (int block = 0; block < kStageBlocks; ++block) {
#pragma unroll
        for (int i = 0; i < kRowSets; ++i) {
          if (thread / 8 + i * (kThreads / 8) >= kColumns) continue;
          copy_async16(x_to[i] + (copy_slot * kStageBlocks + static_cast<uint32_t>(block)) *
                                     (kColumns * kBlock),
                       reinterpret_cast<const uint4*>(a.x.xq) + x_from[i] + block * 8,
                       x_valid[i] && copied + block < blocks);
        }
      }
#pragma unroll
      for (int i = 0; i < kRowSets; ++i) x_from[i] += kStageBlocks * 8;
      if (thread < kStageBlocks * kColumns * 2)
        copy_async4(scale_to + copy_slot * (kStageBlocks * kColumns * 4), scales + scale_from,
                    scale_row >= 0 && copied + scale_block < blocks);
      scale_from += kStageBlocks;
    }
    copied += kStageBlocks;
    copy_slot = copy_slot + 1 == kStages ? 0 : copy_slot + 1;
    commit_copies();
  };

  const int tile = unit.first_tile + warp * 2, tiles = (unit.rows + 7) / 8;
  const int64_t all = static_cast<int64_t>(tiles) * blocks;
  const std::byte* const indices = unit.matrix + lane * 16;
  const std::byte* const signs = unit.matrix + all * 512 + lane * 4;
  const std::byte* const norms = unit.matrix + all * 640 + row * 2;
  const auto load_block = [&](BlockCodes& codes, int block) {
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      codes.indices[t] = make_uint4(0, 0, 0, 0);
      codes.signs[t] = 0;
      codes.norms[t] = 0;
      if (block < blocks && tile + t < tiles) {
        const auto at = static_cast<uint32_t>((tile + t) * blocks + block);
        codes.indices[t] = load_weights16(indices + uint64_t{at} * 512);
        codes.signs[t] = load_weights4(signs + uint64_t{at} * 128);
        codes.norms[t] = load_weights2(norms + uint64_t{at} * 16);
      }
    }
  };

  // [column tile][of an mma's four: rows row, row, row + 8, row + 8; columns 2q, 2q + 1, 2q, 2q +
  // 1]
  float total[kColumnTiles][4], chunk[kColumnTiles][4];
#pragma unroll
  for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i) total[n][i] = chunk[n][i] = 0.0f;

  const auto multiply_block = [&](const BlockCodes& codes, int slot, int block) {
    int32_t dot[kColumnTiles][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // steps 2 * half and the next
      const uint32_t even0 = half == 0 ? codes.indices[0].x : codes.indices[0].z;
      const uint32_t odd0 = half == 0 ? codes.indices[0].y : codes.indices[0].w;
      const uint32_t even1 = half == 0 ? codes.indices[1].x : codes.indices[1].z;
      const uint32_t odd1 = half == 0 ? codes.indices[1].y : codes.indices[1].w;
      const Weights8 w0 = decode_weights(table, even0, codes.signs[0], 2 * half);
      const Weights8 w1 = decode_weights(table, even1, codes.signs[1], 2 * half);
      const Weights8 v0 = decode_weights(table, odd0, codes.signs[0], 2 * half + 1);
      const Weights8 v1 = decode_weights(table, odd1, codes.signs[1], 2 * half + 1);
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
        const int c = n * 8 + row;  // as a column of x, the lane's row is that of the tile of x
        const uint4 x = shared.xq[slot][block][c][(2 * quarter + half) ^ (row & 1)];
        if (half == 0) {
          multiply_from(kHalfBias, dot[n], w0.low, w1.low, w0.high, w1.high, x.x, x.y);
        } else {
          multiply_add(dot[n], w0.low, w1.low, w0.high, w1.high, x.x, x.y);
        }
        multiply_add(dot[n], v0.low, v1.low, v0.high, v1.high, x.z, x.w);
      }
    }
    const float norm[2] = {__half2float(__ushort_as_half(codes.norms[0])),
                           __half2float(__ushort_as_half(codes.norms[1]))};
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
      const float2 sx =
          *reinterpret_cast<const float2*>(&shared.scale[slot][block][n * 8 + 2 * quarter]);
      const int2 sum =
          *reinterpret_cast<const int2*>(&shared.sum[slot][block][n * 8 + 2 * quarter]);
      const float scale[2] = {sx.x * table.factor, sx.y * table.factor};
      const int32_t sums[2] = {sum.x, sum.y};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float t = __int_as_float(2 * dot[n][i] + sums[i % 2]) - kBias;
        chunk[n][i] = fmaf(norm[i / 2] * scale[i % 2], t, chunk[n][i]);
      }
    }
  };
  const auto close_chunk = [&] {
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        total[n][i] += chunk[n][i];
        chunk[n][i] = 0.0f;
      }
  };

  BlockCodes even, odd;
  load_block(even, 0);
  load_block(odd, 1);
  for (int stage = 0; stage < kStages - 1; ++stage) copy_stage();
  int slot = 0;
  for (int stage = 0; stage < stages; ++stage) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // the stage has arrived for all, and all are done with the slot filled next
    copy_stage();
    const int block = stage * kStageBlocks;
    multiply_block(even, slot, 0);
    load_block(even, block + 2);
    if (block + 1 < blocks) {
      multiply_block(odd, slot, 1);
      load_block(odd, block + 3);
    }
    // kChunkBlocks is a multiple of kStageBlocks: chunks end with a stage.
    if ((block + kStageBlocks) % kChunkBlocks == 0 || stage + 1 == stages) close_chunk();
    slot = slot + 1 == kStages ? 0 : slot + 1;
  }

  // Asked again rather than kept in registers through the loop.
  static_cast<void>(unit_of<kColumns, kWarps * 2>(a, unit));
#pragma unroll
  for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = n * 8 + 2 * quarter + i % 2;
      const int out_row = (unit.first_tile + warp * 2 + i / 2) * 8 + row;
      if (column >= unit.columns || out_row >= unit.rows) continue;
      float* y = unit.y + column * unit.y_stride + out_row;
      *y = finish_product(total[n][i], unit.bias == nullptr ? nullptr : unit.bias + out_row,
                          unit.accumulate ? y : nullptr);
    }
  }
}

static_assert(kChunkBlocks % kStageBlocks == 0);

template <int kColumnTiles, int kWarps, int kCtas>
void launch_many(ManyArgs& args, cudaStream_t stream) {
  const auto units_of = [](int64_t rows) {
    return static_cast<int>((rows + kWarps * 16 - 1) / (kWarps * 16));
  };
  int units = 0;
  for (int i = 0; i < kMostTargets; ++i) {
    args.first_unit[i] = units;
    if (i < args.targets.count) units += units_of(args.targets.target[i].rows);
  }
  args.first_unit[kMostTargets] = units;
  args.expert_units = units_of(args.experts.rows);
  const int64_t expert_ctas =
      args.experts.table == nullptr ? 0 : args.experts.most_tiles * args.expert_units;
  const int64_t ctas = static_cast<int64_t>(units) * args.token_tiles + expert_ctas;
  if (ctas == 0) return;
  constexpr size_t kBytes = sizeof(Shared<kColumnTiles>);
  const auto kernel = tiled5_many_rows<kColumnTiles, kWarps, kCtas>;
  static const bool ready = [kernel] {
    HLWQ_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(kBytes)));
    return true;
  }();
  static_cast<void>(ready);
  launch(kernel,
         {.grid = static_cast<unsigned>(ctas),
          .block = kWarps * 32,
          .shared_bytes = kBytes,
          .stream = stream},
         args);
}

}  // namespace

void tiled5_many(const QuantizedRows& x, int64_t tokens, const ProductTargets& targets,
                 const Tiled5Table& codes, const Tiled5Experts& experts, int tile_rows,
                 cudaStream_t stream) {
  ManyArgs args = {.x = x,
                   .tokens = static_cast<int>(tokens),
                   .token_tiles = static_cast<int>((tokens + tile_rows - 1) / tile_rows),
                   .targets = targets,
                   .first_unit = {},
                   .codes = codes,
                   .experts = experts,
                   .expert_units = 0};
  // Tiles, warps and CTAs a multiprocessor as measured on an H200 (bench/NOTES.md).
  switch (tile_rows) {
    case 16:
      return launch_many<2, 8, 2>(args, stream);
    case 32:
      return launch_many<4, 6, 2>(args, stream);
    default:
      return launch_many<8, 8, 1>(args, stream);
  }
}

}  // namespace hlwq::cuda
