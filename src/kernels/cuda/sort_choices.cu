// sort_choices.cu: the router's choices, sorted by expert and cut into tiles.
// Math    counting sort; integers only
// Shapes  ids i32[tokens][used] -> begin [experts+1], pair_token [pairs], choice_pair [pairs],
// tiles Bytes   12 a choice; 4096 tokens of six: 295 KB Floor   a launch; one CTA passes over the
// choices twice Method  one CTA: counts in shared memory, one scan over experts for pairs and
// tiles, then places

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sort_choices.h"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kMostExperts = 2048;

__global__ void __launch_bounds__(kThreads)
    sort_choices_of_step(const int32_t* ids, int choices, int used, int experts, int tile_rows,
                         SortedChoices out) {
  __shared__ int32_t count[kMostExperts];  // then: the next free pair of each expert
  __shared__ int32_t warp_pairs[32], warp_tiles[32];
  let_next_start();
  wait_for_inputs();
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  for (int e = thread; e < kMostExperts; e += kThreads) count[e] = 0;
  __syncthreads();  // counts are zero
  for (int i = thread; i < choices; i += kThreads) atomicAdd(&count[ids[i]], 1);
  __syncthreads();  // counts are complete

  // Exclusive sums over experts of pairs and tiles; a thread has two neighbouring experts.
  const int first = 2 * thread;
  const int pairs0 = count[first], pairs1 = count[first + 1];
  const int tiles0 = (pairs0 + tile_rows - 1) / tile_rows;
  const int tiles1 = (pairs1 + tile_rows - 1) / tile_rows;
  int pairs = pairs0 + pairs1, tiles = tiles0 + tiles1;
  for (int distance = 1; distance < 32; distance *= 2) {
    const int more_pairs = __shfl_up_sync(0xffffffffu, pairs, distance);
    const int more_tiles = __shfl_up_sync(0xffffffffu, tiles, distance);
    if (lane >= distance) pairs += more_pairs, tiles += more_tiles;
  }
  if (lane == 31) warp_pairs[warp] = pairs, warp_tiles[warp] = tiles;
  __syncthreads();  // every warp's sums are there
  int pairs_before = pairs - pairs0 - pairs1, tiles_before = tiles - tiles0 - tiles1;
  for (int w = 0; w < warp; ++w) pairs_before += warp_pairs[w], tiles_before += warp_tiles[w];
  for (int k = 0; k < 2; ++k) {
    const int e = first + k, n = k == 0 ? pairs0 : pairs1;
    count[e] = pairs_before;
    if (e <= experts) out.begin[e] = pairs_before;
    for (int from = 0; from < n; from += tile_rows)
      out.tiles[tiles_before++] = {e, pairs_before + from, min(tile_rows, n - from)};
    pairs_before += n;
  }
  if (thread == kThreads - 1) *out.tile_count = tiles_before;
  if (thread == kThreads - 1 && experts == kMostExperts) out.begin[experts] = pairs_before;
  __syncthreads();  // count holds the first free pair of each expert
  for (int i = thread; i < choices; i += kThreads) {
    const int pair = atomicAdd(&count[ids[i]], 1);
    out.pair_token[pair] = i / used;
    out.choice_pair[i] = pair;
  }
}

}  // namespace

void sort_choices(const int32_t* ids, int64_t choices, int64_t experts_used, int64_t experts,
                  int tile_rows, const SortedChoices& out, cudaStream_t stream) {
  launch(sort_choices_of_step, {.grid = 1, .block = kThreads, .stream = stream}, ids,
         static_cast<int>(choices), static_cast<int>(experts_used), static_cast<int>(experts),
         tile_rows, out);
}

}  // namespace hlwq::cuda
