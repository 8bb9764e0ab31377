// tiled5_one.cu: y = W x for one row of x, W in kTiled5 codes: the product of single-stream decode.
// Math    ops/integer_dot.h, bit for bit; a warp computes chunk sums, one thread an output adds
// them Shapes  W [rows][blocks*128] in tiles of 8 rows, x i8[blocks*128] -> y f32[rows]; up to four
// W
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
#include "kernels/cuda/tiled5_stream.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kMostWarps = 18;
constexpr int kStages = 2;
constexpr int kMostPairs = 32 - kMostTargets;  // a lane for each matrix of a launch

struct OneArgs {
  QuantizedRows x;
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

// What a warp does: one chunk of every `every`-th tile of the CTA from `turn` on.
struct WarpPart {
  int chunk, turn, every;
};

// Streams a warp's part. kFull: its chunk has all kChunkBlocks blocks.
template <bool kFull>
__device__ __forceinline__ void stream_part(const OneArgs& a, const Share& share,
                                            const WarpPart& part, TileCodes* stages, float* sums) {
  const auto blocks = static_cast<int>(a.x.blocks);
  const int chunks = (blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int lane = threadIdx.x % 32;
  const int first = part.chunk * kChunkBlocks, count = min(kChunkBlocks, blocks - first);
  // The matrices, one a lane; the experts' are known after the wait.
  const std::byte* matrix = lane < a.targets.count ? a.targets.target[lane].matrix : nullptr;
  TileRing<kStages, kFull> ring(stages);
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
  for (; requested < kStages && (run.left > 0 || ask < share.dense); ++requested)
    request(share.dense);
  // The kernel that sums experts' outputs reads the router's ids before it waits, two launches
  // later: it may not start before the router is done.
  if (a.all_expert_tiles == 0) let_next_start();
  wait_for_inputs();
  if (a.all_expert_tiles > 0) let_next_start();
  if (lane >= kMostTargets && lane - kMostTargets < static_cast<int>(a.experts.most_tiles)) {
    const ExpertEntry& entry = a.experts.table[a.experts.ids[lane - kMostTargets]];
    matrix = a.experts.down ? entry.down : entry.up;
  }
  for (; requested < kStages; ++requested) request(share.tiles);

  const PartInput in = load_part_input(a.x, 0, first, count);
  for (int tile = part.turn; tile < share.tiles; tile += part.every) {
    const TileCodes& codes = ring.next();
    const float sum =
        multiply_part<kFull>(tile < share.dense ? a.codes : a.experts.codes, codes, in, count);
    if (lane % 4 == 0) sums[(tile * chunks + part.chunk) * 8 + lane / 4] = sum;
    __syncwarp();  // all lanes have read the stage that is filled next
    request(share.tiles);
  }
}

__global__ void __launch_bounds__(kMostWarps * 32) tiled5_one_row(const OneArgs a) {
  extern __shared__ __align__(16) unsigned char shared[];
  const auto blocks = static_cast<int>(a.x.blocks);
  const int chunks = (blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32;
  auto* const rings = reinterpret_cast<TileCodes*>(shared);              // [warps][kStages]
  auto* const sums = reinterpret_cast<float*>(rings + warps * kStages);  // [most_tiles][chunks][8]

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
  if (!last || blocks % kChunkBlocks == 0) {
    stream_part<true>(a, share, part, rings + warp * kStages, sums);
  } else {
    stream_part<false>(a, share, part, rings + warp * kStages, sums);
  }
  __syncthreads();  // every chunk sum is written before they are added up

  for (int i = threadIdx.x; i < share.tiles * 8; i += blockDim.x) {
    const Place place = place_of(a, share, i / 8);
    const int row = place.tile * 8 + i % 8;
    float total = 0;
    for (int c = 0; c < chunks; ++c) total += sums[(i / 8 * chunks + c) * 8 + i % 8];
    if (place.matrix >= kMostTargets) {
      if (row < a.experts.rows)
        a.experts.y[(place.matrix - kMostTargets) * a.experts.y_stride + row] = total;
      continue;
    }
    const ProductTarget& target = a.targets.target[place.matrix];
    if (row >= target.rows) continue;
    float* y = target.y + row;
    *y = finish_product(total, target.bias == nullptr ? nullptr : target.bias + row,
                        target.accumulate ? y : nullptr);
  }
}

// Warps of every full chunk and of the last one, in proportion to their time: a tile's part costs
// about as much as a block and a half on top of its blocks.
struct Warps {
  int each, last;
  [[nodiscard]] int all(int chunks) const { return (chunks - 1) * each + last; }
};
Warps warps_for(int chunks, int last_blocks) {
  const int full_cost = 2 * kChunkBlocks + 3, last_cost = 2 * last_blocks + 3;
  Warps warps = {0, 0};
  for (int each = 1;; ++each) {
    const Warps more = {each, (each * last_cost + full_cost - 1) / full_cost};
    if (more.all(chunks) > kMostWarps) return warps;
    warps = more;
  }
}

size_t shared_bytes_for(int warps, int chunks, int tiles) {
  return static_cast<size_t>(warps * kStages) * sizeof(TileCodes) +
         static_cast<size_t>(tiles * chunks * 8) * sizeof(float);
}

}  // namespace

void tiled5_one(const QuantizedRows& x, const ProductTargets& targets, const Tiled5Table& codes,
                const Tiled5Experts& experts, const DeviceLimits& device, cudaStream_t stream) {
  const auto tiles_of = [](int64_t rows) { return static_cast<int>((rows + 7) / 8); };
  OneArgs args = {.x = x,
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
  const Warps shares = warps_for(chunks, static_cast<int>(x.blocks) - (chunks - 1) * kChunkBlocks);
  args.chunk_warps = shares.each;
  const int warps = shares.all(chunks);
  // One CTA a multiprocessor, or more while the chunk sums of its tiles do not fit.
  int ctas = device.multiprocessors;
  size_t shared_bytes = 0;
  for (;; ctas *= 2) {
    args.most_tiles = tiles / ctas + args.all_expert_tiles / ctas + 2;
    shared_bytes = shared_bytes_for(warps, chunks, args.most_tiles);
    if (shared_bytes <= device.shared_bytes || args.most_tiles == 2) break;
  }
  allow_shared_bytes(tiled5_one_row, device);
  launch(tiled5_one_row,
         {.grid = static_cast<unsigned>(ctas),
          .block = static_cast<unsigned>(warps * 32),
          .shared_bytes = shared_bytes,
          .stream = stream},
         args);
}

bool tiled5_one_takes(int64_t blocks, int64_t pairs, const DeviceLimits& device) {
  const auto chunks = static_cast<int>((blocks + kChunkBlocks - 1) / kChunkBlocks);
  return chunks <= kMostWarps && pairs <= kMostPairs &&
         shared_bytes_for(kMostWarps, chunks, 2) <= device.shared_bytes;
}

}  // namespace hlwq::cuda
