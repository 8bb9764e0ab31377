// tiled5_one.cu: y = W x for one row of x, W in kTiled5 codes: the product of single-stream decode.
// Math    ops/integer_dot.h, bit for bit; a warp computes chunk sums, one thread an output adds
//         them
// Shapes  W [rows][blocks*128] in tiles of 8 rows, x i8[blocks*128] -> y f32[rows]; up to four W
//         that share x, and in the same launch some experts' (which ones the device knows)
// Bytes   rows * blocks * 82; 30B: in_proj 17.7 MB, up of six experts and the shared one 25.6 MB
// Floor   4.0 and 5.8 us at 4.4 TB/s
// Method  one CTA a multiprocessor with an equal share of the tiles; its warps stream their tasks
//         through rings (tiled5_stream.cuh). Codes that do not depend on the router are requested
//         before the kernel waits for x, while the kernel before it still runs. Decoding needs
//         about 40 integer instructions a block of a tile on a pipe that takes two a cycle: 57 % of
//         it at the speed of an H200's memory
// Source  own

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ready_flag.cuh"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/cuda/tiled5_stream.cuh"
#include "kernels/cuda/warp_sums.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kMostWarps = 16;
constexpr int kChunkStages = 2;
constexpr int kMostPairs = 32 - kMostTargets;  // a lane for each matrix of a launch

struct OneArgs {
  QuantizedRows x;   // unless the row is normed here
  RmsNormRows norm;  // of one row, which the product reads
  ProductTargets targets;
  int first_tile[kMostTargets + 1];  // of each target among the dense tiles; the last: their number
  Tiled5Table codes;
  Tiled5Experts experts;
  int expert_tiles;      // of one expert's matrix
  int all_expert_tiles;  // of all
  int most_tiles;        // of one CTA
  int chunk_warps;       // of every chunk but the last, which has the rest
};

// A CTA's tiles: dense ones [dense_first, + dense), then experts' [expert_first, ...).
struct Share {
  int dense_first, dense, expert_first, tiles;
};

// Which matrix a tile of the CTA is in (a target, or kMostTargets + pair) and which tile of it.
struct Place {
  int matrix, tile, tiles;
};

__device__ __forceinline__ Place place_of(const OneArgs& a, const Share& share, int at) {
  if (at >= share.dense) {
    const int tile = share.expert_first + at - share.dense;
    return {kMostTargets + tile / a.expert_tiles, tile % a.expert_tiles, a.expert_tiles};
  }
  const int tile = share.dense_first + at;
  int which = 0;
  while (which + 1 < a.targets.count && tile >= a.first_tile[which + 1]) ++which;
  return {which, tile - a.first_tile[which], a.first_tile[which + 1] - a.first_tile[which]};
}

// Shared memory of a row that is normed here.
struct NormedRow {
  uint4* xq;             // [blocks][8]
  float* sx;             // [blocks]
  int32_t* sum;          // [blocks]
  float* block_squares;  // [blocks up to a multiple of kSquaresAtOnce]
};
__host__ __device__ constexpr int squares_room(int blocks) {
  return (blocks + kSquaresAtOnce - 1) / kSquaresAtOnce * kSquaresAtOnce;
}
constexpr size_t normed_bytes(int blocks) {
  return static_cast<size_t>(blocks) * (kBlock + 8) +
         static_cast<size_t>(squares_room(blocks)) * sizeof(float) + 16;
}

// Norms, rotates and quantizes the row, as rms_norm.cu does and with its bits; every CTA for
// itself, which takes less time than a launch. All warps call it; the row is complete for all on
// return.
__device__ __forceinline__ void norm_row(const RmsNormRows& norm, int blocks,
                                         const NormedRow& row) {
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto width = static_cast<int>(norm.width);
  const bool aligned =
      ((reinterpret_cast<uintptr_t>(norm.x) | reinterpret_cast<uintptr_t>(norm.weight)) & 15) == 0;
  float v[4], weight[4];
  for (int block = warp; block < squares_room(blocks); block += warps) {
    float squares[1] = {0.0f};
    if (block < blocks) {
      load_lane4(v, norm.x, block * kBlock + 4 * lane, width, aligned);
      squares[0] = squares_of_lane(v);
    }
    sum_over_lanes<1>(squares);
    if (lane == 0) row.block_squares[block] = squares[0];
  }
  __syncthreads();  // block_squares is complete before anyone adds it up
  const float scale = norm_scale(row.block_squares, blocks, norm);
  for (int block = warp; block < blocks; block += warps) {
    load_lane4(v, norm.x, block * kBlock + 4 * lane, width, aligned);
    load_lane4(weight, norm.weight, block * kBlock + 4 * lane, width, aligned);
    norm_lane(v, weight, scale);
    const LaneBlock q = rotate_quantize_lanes(v);
    reinterpret_cast<uint32_t*>(row.xq + block * 8)[lane] = q.xq;
    if (lane == 0) {
      row.sx[block] = q.sx;
      row.sum[block] = q.sum;
      if (!q.finite) *norm.non_finite = 1;
    }
  }
  __syncthreads();  // the row is complete before any warp multiplies
}

// What a warp does: one chunk of every `every`-th tile of the CTA from `turn` on.
struct WarpPart {
  int chunk, turn, every;
};

// Streams a warp's part. kBlocks: of its chunk, as in multiply_part.
template <int kBlocks, bool kNorm>
__device__ __forceinline__ void stream_part(const OneArgs& a, const Share& share,
                                            const WarpPart& part, unsigned char* memory,
                                            const NormedRow& row, float* sums) {
  using Ring = TileRing<kChunkStages, kBlocks>;
  const auto blocks = static_cast<int>(a.x.blocks);
  const int chunks = (blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int lane = threadIdx.x % 32;
  const int first = part.chunk * kChunkBlocks, count = min(kChunkBlocks, blocks - first);
  // The matrices, one a lane; the experts' are known after the wait.
  const std::byte* matrix = lane < a.targets.count ? a.targets.target[lane].matrix : nullptr;
  Ring ring(memory);
  TileRun run;
  int ask = part.turn;  // tile of the CTA with which the next run begins
  const auto request = [&](int limit) {
    if (run.left == 0 && ask < limit) {
      const Place place = place_of(a, share, ask);
      const int end = ask < share.dense ? share.dense : share.tiles;
      const int tiles = (min(end - ask, place.tiles - place.tile) + part.every - 1) / part.every;
      const auto address =
          __shfl_sync(0xffffffffu, reinterpret_cast<uint64_t>(matrix), place.matrix);
      run = tile_run(reinterpret_cast<const std::byte*>(address), place.tiles, blocks, place.tile,
                     part.every, tiles, first);
      ask += tiles * part.every;
    }
    ring.request(run);
  };
  int requested = 0;
  for (; requested < Ring::kStages && (run.left > 0 || ask < share.dense); ++requested)
    request(share.dense);
  // The kernel that sums experts' outputs reads the router's ids before it waits, two launches
  // later: it may not start before the router is done.
  if (a.all_expert_tiles == 0) let_next_start();
  if (a.experts.ready == nullptr) {
    wait_for_inputs();
  } else {
    wait_until_ready(a.experts.ready);
  }
  if (a.all_expert_tiles > 0) let_next_start();
  if (lane >= kMostTargets && lane - kMostTargets < static_cast<int>(a.experts.most_tiles)) {
    const ExpertAddress& entry = a.experts.table[a.experts.ids[lane - kMostTargets]];
    matrix = a.experts.down ? entry.down : entry.up;
  }
  for (; requested < Ring::kStages; ++requested) request(share.tiles);

  QuantizedRows x = a.x;
  if constexpr (kNorm) {
    norm_row(a.norm, blocks, row);
    x = {reinterpret_cast<const int8_t*>(row.xq), row.sx, row.sum, blocks};
  }
  const PartInput in = load_part_input(x, 0, first, count);
  for (int tile = part.turn; tile < share.tiles; tile += part.every) {
    const auto& codes = ring.next();
    const float sum =
        multiply_part<kBlocks>(tile < share.dense ? a.codes : a.experts.codes, codes, in, count);
    if (lane % 4 == 0) sums[(tile * chunks + part.chunk) * 8 + lane / 4] = sum;
    __syncwarp();  // all lanes have read the stage that is filled next
    request(share.tiles);
  }
}

template <bool kNorm>
__global__ void __launch_bounds__(kMostWarps * 32) tiled5_one_row(const OneArgs a) {
  extern __shared__ __align__(16) unsigned char shared[];
  const auto blocks = static_cast<int>(a.x.blocks);
  const int chunks = (blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32;
  constexpr size_t kRingBytes = kChunkStages * kTileCodesBytes;
  auto* const sums = reinterpret_cast<float*>(shared + warps * kRingBytes);  // [tiles][chunks][8]

  NormedRow row = {};
  if constexpr (kNorm) {
    row.xq = reinterpret_cast<uint4*>(
        (reinterpret_cast<uintptr_t>(sums + a.most_tiles * chunks * 8) + 15) / 16 * 16);
    row.block_squares = reinterpret_cast<float*>(row.xq + blocks * 8);
    row.sx = row.block_squares + squares_room(blocks);
    row.sum = reinterpret_cast<int32_t*>(row.sx + blocks);
  }

  const auto part_of = [](int all, int index) {
    return static_cast<int>(static_cast<int64_t>(all) * index / gridDim.x);
  };
  const auto cta = static_cast<int>(blockIdx.x);
  Share share;
  share.dense_first = part_of(a.first_tile[kMostTargets], cta);
  share.dense = part_of(a.first_tile[kMostTargets], cta + 1) - share.dense_first;
  share.expert_first = part_of(a.all_expert_tiles, cta);
  share.tiles = share.dense + part_of(a.all_expert_tiles, cta + 1) - share.expert_first;

  const int full_warps = (chunks - 1) * a.chunk_warps;
  const bool last = warp >= full_warps;
  const WarpPart part = last ? WarpPart{chunks - 1, warp - full_warps, warps - full_warps}
                             : WarpPart{warp % (chunks - 1), warp / (chunks - 1), a.chunk_warps};
  unsigned char* const ring = shared + warp * kRingBytes;
  const int part_blocks = min(kChunkBlocks, blocks - part.chunk * kChunkBlocks);
  if (part_blocks == kChunkBlocks) {
    stream_part<kChunkBlocks, kNorm>(a, share, part, ring, row, sums);
  } else if (part_blocks == 1) {
    stream_part<1, kNorm>(a, share, part, ring, row, sums);
  } else {
    stream_part<0, kNorm>(a, share, part, ring, row, sums);
  }
  __syncthreads();  // every chunk sum is written before they are added up

  for (int i = threadIdx.x; i < share.tiles * 8; i += blockDim.x) {
    const Place place = place_of(a, share, i / 8);
    const int row = place.tile * 8 + i % 8;
    float total = 0;
    for (int c = 0; c < chunks; ++c) total += sums[(i / 8 * chunks + c) * 8 + i % 8];
    if (place.matrix >= kMostTargets) {
      const int pair = place.matrix - kMostTargets;
      // The host's: what follows rotates the row all the same.
      if (a.experts.ready != nullptr && a.experts.table[a.experts.ids[pair]].up == nullptr)
        total = 0;
      if (row < a.experts.rows) a.experts.y[pair * a.experts.y_stride + row] = total;
      continue;
    }
    const ProductTarget& target = a.targets.target[place.matrix];
    if (row >= target.rows) continue;
    float* y = target.y + row;
    *y = finish_product(total, target.bias == nullptr ? nullptr : target.bias + row,
                        target.accumulate ? y : nullptr);
  }
}

// Warps of every full chunk and of the last one, which may be shorter.
struct Warps {
  int each, last;
  [[nodiscard]] int all(int chunks) const { return (chunks - 1) * each + last; }
};
// A tile's part costs about as much as half a block on top of its blocks. A CTA's time goes with
// the turns its warps take over the tiles, times the warps that share a multiprocessor and some
// more for what a turn costs by itself (a fit to times on an H200; bench/NOTES.md).
Warps warps_for(int chunks, int last_blocks, int tiles) {
  const int full_cost = 2 * kChunkBlocks + 1, last_cost = 2 * last_blocks + 1;
  Warps best = {1, 1};
  int best_time = 0;
  for (int each = 1;; ++each) {
    const Warps warps = {each, (each * last_cost + full_cost - 1) / full_cost};
    if (warps.all(chunks) > kMostWarps) return best;
    const int time = (tiles + each - 1) / each * (warps.all(chunks) + 6);
    if (each == 1 || time < best_time) best = warps, best_time = time;
  }
}

size_t shared_bytes_for(int warps, int chunks, int tiles) {
  return static_cast<size_t>(warps * kChunkStages) * kTileCodesBytes +
         static_cast<size_t>(tiles * chunks * 8) * sizeof(float);
}

}  // namespace

void tiled5_one(const QuantizedRows& x, const RmsNormRows* norm, const ProductTargets& targets,
                const Tiled5Table& codes, const Tiled5Experts& experts, const DeviceLimits& device,
                cudaStream_t stream) {
  const auto tiles_of = [](int64_t rows) { return static_cast<int>((rows + 7) / 8); };
  OneArgs args = {.x = x,
                  .norm = norm == nullptr ? RmsNormRows{} : *norm,
                  .targets = targets,
                  .first_tile = {},
                  .codes = codes,
                  .experts = experts,
                  .expert_tiles = tiles_of(experts.rows),
                  .all_expert_tiles = 0,
                  .most_tiles = 0,
                  .chunk_warps = 0};
  int tiles = 0;
  for (int i = 0; i < kMostTargets; ++i) {
    args.first_tile[i] = tiles;
    if (i < targets.count) tiles += tiles_of(targets.target[i].rows);
  }
  args.first_tile[kMostTargets] = tiles;
  if (experts.table != nullptr)
    args.all_expert_tiles = static_cast<int>(experts.most_tiles) * args.expert_tiles;
  if (tiles + args.all_expert_tiles == 0) return;
  const auto chunks = static_cast<int>((x.blocks + kChunkBlocks - 1) / kChunkBlocks);
  // One CTA a multiprocessor, or more while the chunk sums of its tiles do not fit.
  int ctas = device.multiprocessors;
  size_t shared_bytes = 0;
  int warps = 0;
  for (;; ctas *= 2) {
    const int all_tiles = tiles + args.all_expert_tiles;
    const Warps shares = warps_for(chunks, static_cast<int>(x.blocks) - (chunks - 1) * kChunkBlocks,
                                   (all_tiles + ctas - 1) / ctas);
    args.chunk_warps = shares.each;
    warps = shares.all(chunks);
    args.most_tiles = tiles / ctas + args.all_expert_tiles / ctas + 2;
    shared_bytes = shared_bytes_for(warps, chunks, args.most_tiles) +
                   (norm == nullptr ? 0 : normed_bytes(static_cast<int>(x.blocks)));
    if (shared_bytes <= device.shared_bytes || args.most_tiles == 2) break;
  }
  const auto kernel = norm == nullptr ? tiled5_one_row<false> : tiled5_one_row<true>;
  allow_shared_bytes(kernel, device);
  launch(kernel,
         {.grid = static_cast<unsigned>(ctas),
          .block = static_cast<unsigned>(warps * 32),
          .shared_bytes = shared_bytes,
          .stream = stream},
         args);
}

bool tiled5_one_takes(int64_t blocks, int64_t pairs, const DeviceLimits& device) {
  const auto chunks = static_cast<int>((blocks + kChunkBlocks - 1) / kChunkBlocks);
  return chunks <= kMostWarps && pairs <= kMostPairs &&
         shared_bytes_for(kMostWarps, chunks, 2) + normed_bytes(static_cast<int>(blocks)) <=
             device.shared_bytes;
}

}  // namespace hlwq::cuda
