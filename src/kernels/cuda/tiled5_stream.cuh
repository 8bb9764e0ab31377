#pragma once
// Streaming kTiled5 codes against one row of x. A part is a chunk (D1: at most four blocks) of a
// matrix; a warp keeps x of its part in registers and walks over tiles of 8 rows, whose codes
// asynchronous copies bring into a ring in shared memory well ahead of the arithmetic: memory stays
// busy while operands are decoded and while a kernel waits for its input.
//
// Operand use: rows 0-7 of the tensor core's A are the tile's rows in one block, rows 8-15 the same
// rows in the next block; even columns of B are x in the first block, odd ones x in the next. The
// wanted sums are then (row r, even column) and (row r + 8, odd column).

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/product.h"
#include "kernels/cuda/tiled5_codes.cuh"
#include "ops/integer_dot.h"

namespace hlwq::cuda {

// A tile's part of up to kBlocks blocks in shared memory.
template <int kBlocks>
struct __align__(16) TileCodes {
  uint4 indices[kBlocks][32];
  uint32_t signs[kBlocks][32];
  uint16_t norms[kBlocks][8];
};
inline constexpr size_t kTileCodesBytes = sizeof(TileCodes<kChunkBlocks>);

// x of a part, as one lane needs it.
struct PartInput {
  uint4 xq[kChunkBlocks / 2][2];  // of the pair's first block in even rows, else of its second
  float sx[kChunkBlocks];
  int32_t sum[kChunkBlocks];
};

// Blocks [first, first + count) of row `row`; what lies beyond is zero.
__device__ __forceinline__ PartInput load_part_input(const QuantizedRows& x, int row, int first,
                                                     int count) {
  const int lane = threadIdx.x % 32;
  const int64_t at = static_cast<int64_t>(row) * x.blocks + first;
  PartInput in;
#pragma unroll
  for (int i = 0; i < kChunkBlocks; i += 2) {
    const int block = i + lane / 4 % 2;
    const auto* from = reinterpret_cast<const uint4*>(x.xq + (at + block) * kBlock) + lane % 4 * 2;
    in.xq[i / 2][0] = block < count ? from[0] : make_uint4(0, 0, 0, 0);
    in.xq[i / 2][1] = block < count ? from[1] : make_uint4(0, 0, 0, 0);
  }
#pragma unroll
  for (int i = 0; i < kChunkBlocks; ++i) {
    in.sx[i] = i < count ? x.sx[at + i] : 0.0f;
    in.sum[i] = i < count ? x.sum[at + i] : 0;
  }
  return in;
}

// The part's sum for row lane / 4 of a tile (every lane of a row has it), by D1. kBlocks: its
// blocks, or 0 when only `blocks` says (fewer than kChunkBlocks).
template <int kBlocks, typename Codes>
__device__ __forceinline__ float multiply_part(const Tiled5Table& table, const Codes& codes,
                                               const PartInput& in, int blocks) {
  const int lane = threadIdx.x % 32, row = lane / 4;
  if (kBlocks > 0) blocks = kBlocks;
  float total = 0;
#pragma unroll
  for (int i = 0; i < (kBlocks > 0 ? kBlocks : kChunkBlocks); i += 2) {
    if (i >= blocks) break;
    // Without a second block its place in A is empty, or what the ring held before: that sum is
    // left out.
    constexpr bool kPair = kBlocks != 1;
    const uint4 first = codes.indices[i][lane];
    const uint4 second = kPair ? codes.indices[i + 1][lane] : make_uint4(0, 0, 0, 0);
    const uint32_t first_signs = codes.signs[i][lane];
    const uint32_t second_signs = kPair ? codes.signs[i + 1][lane] : 0u;
    const uint4 &low = in.xq[i / 2][0], &high = in.xq[i / 2][1];
    int32_t dot[4] = {0, 0, 0, 0};
    const auto step = [&](uint32_t a, uint32_t b, int j, uint32_t x0, uint32_t x1) {
      const Weights8 w0 = decode_weights(table, a, first_signs, j);
      const Weights8 w1 = kPair ? decode_weights(table, b, second_signs, j) : Weights8{0u, 0u};
      multiply_add(dot, w0.low, w1.low, w0.high, w1.high, x0, x1);
    };
    step(first.x, second.x, 0, low.x, low.y);
    step(first.y, second.y, 1, low.z, low.w);
    step(first.z, second.z, 2, high.x, high.y);
    step(first.w, second.w, 3, high.z, high.w);
    const auto add = [&](int block, int32_t sum) {
      total = add_block(__half2float(__ushort_as_half(codes.norms[block][row])),
                        in.sx[block] * table.factor, centered_dot(sum, in.sum[block]), total);
    };
    add(i, dot[0]);
    if (kPair && i + 1 < blocks) add(i + 1, dot[3]);
  }
  return total;
}

// The tiles a warp asks for next: of one part, `step` blocks of the matrix apart.
struct TileRun {
  const std::byte *indices, *signs, *norms;  // this lane's place in the next tile's part
  int64_t step = 0;                          // blocks from one tile of the run to the next
  int left = 0;                              // tiles
  bool there = true;                         // else nothing is copied: the sums mean nothing
  int blocks = 0;                            // of the part
};

// `count` tiles from `tile` on, every `every`-th, of a matrix with `tiles` tiles of `row_blocks`.
__device__ __forceinline__ TileRun tile_run(const std::byte* matrix, int tiles, int row_blocks,
                                            int tile, int every, int count, int first_block) {
  const int64_t all = static_cast<int64_t>(tiles) * row_blocks;
  const int64_t at = static_cast<int64_t>(tile) * row_blocks + first_block;
  const int lane = threadIdx.x % 32;
  return {matrix + at * 512 + lane * 16,
          matrix + all * 512 + at * 128 + lane * 16,
          matrix + all * 640 + at * 16 + lane * 16,
          static_cast<int64_t>(every) * row_blocks,
          count,
          matrix != nullptr,
          min(kChunkBlocks, row_blocks - first_block)};
}

// A warp's ring. Every lane calls everything. kBlocks as in multiply_part. Parts of one block have
// more stages in the same memory, so that as much is on its way as with whole chunks.
template <int kChunkStages, int kBlocks>
class TileRing {
 public:
  static constexpr int kStages = kBlocks == 1 ? kChunkStages * kChunkBlocks : kChunkStages;
  using Codes = TileCodes<kBlocks == 1 ? 1 : kChunkBlocks>;
  __device__ explicit TileRing(unsigned char* memory)
      : stages_(reinterpret_cast<Codes*>(memory)),
        to_(shared_address(memory) + threadIdx.x % 32 * 16) {}

  // Starts the copies of the run's next tile; one commit group, empty without tiles left.
  __device__ __forceinline__ void request(TileRun& run) {
    const int lane = threadIdx.x % 32;
    if (run.left > 0 && run.there) {
      constexpr int kRoom = kBlocks == 1 ? 1 : kChunkBlocks;
      const int blocks = kBlocks > 0 ? kBlocks : run.blocks;
      const uint32_t to = to_ + filling_ * static_cast<uint32_t>(sizeof(Codes));
#pragma unroll
      for (int i = 0; i < kRoom; ++i)
        if (i < blocks) copy_async16(to + i * 512, run.indices + i * 512);
      if (kBlocks == kChunkBlocks || lane < blocks * 8) copy_async16(to + kRoom * 512, run.signs);
      if (lane < blocks) copy_async16(to + kRoom * 640, run.norms);
      run.indices += run.step * 512;
      run.signs += run.step * 128;
      run.norms += run.step * 16;
    }
    run.left = max(run.left - 1, 0);
    commit_copies();
    filling_ = filling_ + 1 == kStages ? 0 : filling_ + 1;
  }
  // The oldest tile that was requested, once it is there.
  __device__ __forceinline__ const Codes& next() {
    wait_for_copies<kStages - 1>();
    __syncwarp();  // what other lanes copied has arrived too
    const Codes& codes = stages_[reading_];
    reading_ = reading_ + 1 == kStages ? 0 : reading_ + 1;
    return codes;
  }

 private:
  Codes* stages_;
  uint32_t to_;
  int filling_ = 0, reading_ = 0;
};

}  // namespace hlwq::cuda
