// tiled5_sum_experts.cu: a token's experts from their hidden layers to the residual, in one launch.
// Math    y = sum_i fma(w_i, D_i h_i) over ascending i from +0, then + D_s h_s, then residual += y;
//         products as in ops/integer_dot.h
// Shapes  D_i [rows][blocks*128] in kTiled5 tiles, one an expert, and the shared D_s of its own
//         width; h as int8 blocks -> y f32[rows]
// Bytes   30B: 6 * 3.31 + 6.39 = 26.2 MB
// Floor   26.2 MB at 4.4 TB/s: 5.9 us
// Method  one CTA a multiprocessor with an equal share of the output tiles, each for all matrices;
//         warps stream (tile, matrix, chunk) tasks through rings (tiled5_stream.cuh); chunk sums
//         meet in shared memory, where they are added in the order of D1. Which experts is known
//         two kernels earlier, so codes are requested before the kernel waits for the hidden layers
// Source  own

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ready_flag.cuh"
#include "kernels/cuda/tiled5_stream.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 16;
constexpr int kStages = 2;

struct Shape {
  int expert_blocks, shared_blocks;  // of a hidden row; shared_blocks 0: no shared expert
  int expert_chunks, shared_chunks;
  int parts;       // of one output tile
  int tiles;       // of each matrix
  int most_tiles;  // of one CTA
};

// Where a part is: which matrix (the number of experts: the shared one) and which blocks of it.
struct Place {
  int matrix, first_block, row_blocks;
};

// kFetched: the experts' matrices may still be on their way.
template <bool kFetched>
__global__ void __launch_bounds__(kWarps * 32) sum_experts(const Tiled5Sum a, const Shape shape) {
  extern __shared__ __align__(16) unsigned char shared[];
  const auto pairs = static_cast<int>(a.pairs);
  auto* const sums = reinterpret_cast<float*>(
      shared + kWarps * kStages * kTileCodesBytes);                 // [most_tiles][parts][8]
  float* const totals = sums + shape.most_tiles * shape.parts * 8;  // [most_tiles][pairs + 1][8]
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const auto share = [&](int part) {
    return static_cast<int>(static_cast<int64_t>(shape.tiles) * part / gridDim.x);
  };
  const int first_tile = share(static_cast<int>(blockIdx.x));
  const int tiles = share(static_cast<int>(blockIdx.x) + 1) - first_tile;

  // The ids may be read before the wait: the kernel that multiplied by the same experts' up
  // matrices, two launches ago, let the next one start only after its own wait for the router
  // (tiled5_one.cu). The matrices may not, while they are still being fetched: then a part's codes
  // are asked for when its matrix has arrived, those of the shared expert first. A lane for each
  // matrix, the shared one after the experts.
  if constexpr (kFetched) {
    let_next_start();
    wait_for_inputs();
  }
  const int32_t id = lane < pairs ? a.ids[lane] : 0;
  const std::byte* matrix = lane < pairs ? a.table[id].down : lane == pairs ? a.shared : nullptr;
  // Pairs whose expert the host multiplies.
  const unsigned by_host =
      kFetched ? __ballot_sync(0xffffffffu, lane < pairs && matrix == nullptr) : 0u;
  const int parts_of_experts = pairs * shape.expert_chunks;
  // The part that is number `turn` to be done.
  const auto part_at = [&](int turn) {
    if constexpr (!kFetched) return turn;
    const int part = turn + parts_of_experts;
    return part < shape.parts ? part : part - shape.parts;
  };
  const auto place_of = [&](int part) {
    const int which = min(part / shape.expert_chunks, pairs);
    return Place{which, (part - which * shape.expert_chunks) * kChunkBlocks,
                 which < pairs ? shape.expert_blocks : shape.shared_blocks};
  };
  unsigned char* const ring_memory = shared + warp * kStages * kTileCodesBytes;
  TileRing<kStages, 0> ring(ring_memory);
  TileRun run;
  int ask = warp;  // the turn with which the next run begins
  const auto request = [&](int limit) {
    if (run.left == 0 && ask < limit) {
      const Place place = place_of(part_at(ask));
      const auto address =
          __shfl_sync(0xffffffffu, reinterpret_cast<uint64_t>(matrix), place.matrix);
      run = tile_run(reinterpret_cast<const std::byte*>(address), shape.tiles, place.row_blocks,
                     first_tile, 1, tiles, place.first_block);
      ask += kWarps;
    }
    ring.request(run);
  };
  if constexpr (!kFetched) {
    for (int i = 0; i < kStages; ++i) request(shape.parts);
    let_next_start();
    wait_for_inputs();
  }

  for (int turn = warp; turn < shape.parts; turn += kWarps) {
    const int part = part_at(turn);
    const Place place = place_of(part);
    const bool expert = place.matrix < pairs;
    const int limit = kFetched ? turn + 1 : shape.parts;
    if constexpr (kFetched) {
      if ((by_host >> place.matrix & 1) != 0) {
        ask += kWarps;
        continue;
      }
      const int32_t which = __shfl_sync(0xffffffffu, id, place.matrix);
      if (expert) wait_until_ready_for_warp(a.ready + which);
      ring = TileRing<kStages, 0>(ring_memory);  // empty: all it had was read
      for (int i = 0; i < kStages; ++i) request(limit);
    }
    const int count = min(kChunkBlocks, place.row_blocks - place.first_block);
    const PartInput in = load_part_input(expert ? a.hidden : a.shared_hidden,
                                         expert ? place.matrix : 0, place.first_block, count);
    for (int tile = 0; tile < tiles; ++tile) {
      const auto& codes = ring.next();
      const Tiled5Table& table = expert ? a.codes : a.shared_codes;
      const float sum = count == kChunkBlocks ? multiply_part<kChunkBlocks>(table, codes, in, count)
                                              : multiply_part<0>(table, codes, in, count);
      if (lane % 4 == 0) sums[(tile * shape.parts + part) * 8 + lane / 4] = sum;
      __syncwarp();  // all lanes have read the stage that is filled next
      request(limit);
    }
  }
  __syncthreads();  // all chunk sums are written before they are added up

  const int matrices = pairs + (shape.shared_blocks > 0 ? 1 : 0);
  for (int i = thread; i < tiles * matrices * 8; i += kWarps * 32) {
    const int at = i / (matrices * 8), matrix = i / 8 % matrices, row = i % 8;
    const int chunks = matrix < pairs ? shape.expert_chunks : shape.shared_chunks;
    const float* chunk = sums + (at * shape.parts + matrix * shape.expert_chunks) * 8 + row;
    if (kFetched && (by_host >> matrix & 1) != 0) continue;
    float total = 0;
    for (int c = 0; c < chunks; ++c) total += chunk[c * 8];
    totals[(at * (pairs + 1) + matrix) * 8 + row] = total;
  }
  if (kFetched && by_host != 0) {
    wait_until_ready(a.host_ready);
    for (int i = thread; i < tiles * pairs * 8; i += kWarps * 32) {
      const int at = i / (pairs * 8), pair = i / 8 % pairs;
      const int row = (first_tile + at) * 8 + i % 8;
      if ((by_host >> pair & 1) != 0 && row < a.rows)
        totals[(at * (pairs + 1) + pair) * 8 + i % 8] =
            __ldcg(a.host_out + static_cast<int64_t>(pair) * a.rows + row);
    }
  }
  __syncthreads();  // all totals are written before they are summed over experts
  for (int i = thread; i < tiles * 8; i += kWarps * 32) {
    const int row = (first_tile + i / 8) * 8 + i % 8;
    if (row >= a.rows) continue;
    const float* total = totals + i / 8 * (pairs + 1) * 8 + i % 8;
    float y = 0;
    for (int k = 0; k < pairs; ++k) y = add_expert(a.weights[k], total[k * 8], y);
    if (shape.shared_blocks > 0) y = y + total[pairs * 8];
    a.y[row] = y;
    if (a.residual != nullptr) a.residual[row] = a.residual[row] + y;
  }
}

size_t shared_bytes_for(int64_t pairs, int64_t parts, int64_t tiles) {
  return kWarps * kStages * kTileCodesBytes +
         static_cast<size_t>(tiles * (parts + pairs + 1) * 8) * sizeof(float);
}

}  // namespace

void tiled5_sum_experts(const Tiled5Sum& args, const DeviceLimits& device, cudaStream_t stream) {
  const auto chunks_of = [](int64_t blocks) {
    return static_cast<int>((blocks + kChunkBlocks - 1) / kChunkBlocks);
  };
  Shape shape = {
      .expert_blocks = static_cast<int>(args.hidden.blocks),
      .shared_blocks = args.shared == nullptr ? 0 : static_cast<int>(args.shared_hidden.blocks),
      .expert_chunks = chunks_of(args.hidden.blocks),
      .shared_chunks = 0,
      .parts = 0,
      .tiles = static_cast<int>((args.rows + 7) / 8),
      .most_tiles = 0};
  shape.shared_chunks = chunks_of(shape.shared_blocks);
  const auto pairs = static_cast<int>(args.pairs);
  shape.parts = pairs * shape.expert_chunks + shape.shared_chunks;
  int ctas = device.multiprocessors;
  const auto shared_bytes = [&] {
    shape.most_tiles = shape.tiles / ctas + 1;
    return shared_bytes_for(pairs, shape.parts, shape.most_tiles);
  };
  while (shared_bytes() > device.shared_bytes && shape.most_tiles > 1) ctas *= 2;
  const auto kernel = args.ready == nullptr ? sum_experts<false> : sum_experts<true>;
  allow_shared_bytes(kernel, device);
  launch(kernel,
         {.grid = static_cast<unsigned>(ctas),
          .block = kWarps * 32,
          .shared_bytes = shared_bytes(),
          .stream = stream},
         args, shape);
}

bool tiled5_sum_takes(int64_t pairs, int64_t blocks, int64_t shared_blocks,
                      const DeviceLimits& device) {
  const int64_t parts = pairs * ((blocks + kChunkBlocks - 1) / kChunkBlocks) +
                        (shared_blocks + kChunkBlocks - 1) / kChunkBlocks;
  return pairs < 32 && shared_bytes_for(pairs, parts, 1) <= device.shared_bytes;
}

}  // namespace hlwq::cuda
