#pragma once

#include "kernels/cuda/segment_tiles.h"
#include "ops/shapes.h"

namespace hlwq::cuda {

struct SegmentTile {
  int64_t segment, tile;  // tile: within the segment
};

// The `index`-th of all tiles (there must be that many). Every lane of the warp calls it.
__device__ __forceinline__ SegmentTile find_tile(const TileRule& rule, const Segment* segments,
                                                 int64_t count, int64_t index) {
  constexpr unsigned kAll = 0xffffffffu;
  const int lane = threadIdx.x % 32;
  for (int64_t first = 0; first < count; first += 32) {
    const int64_t tiles =
        first + lane < count ? tiles_of_segment(rule, segments[first + lane].tokens) : 0;
    int64_t up_to = tiles;  // of segments first .. first + lane
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int64_t before = __shfl_up_sync(kAll, up_to, distance);
      if (lane >= distance) up_to += before;
    }
    const unsigned owners = __ballot_sync(kAll, index < up_to);
    if (owners != 0) {
      const int owner = __ffs(static_cast<int>(owners)) - 1;
      return {first + owner, index - __shfl_sync(kAll, up_to - tiles, owner)};
    }
    index -= __shfl_sync(kAll, up_to, 31);
  }
  return {0, 0};
}

}  // namespace hlwq::cuda
