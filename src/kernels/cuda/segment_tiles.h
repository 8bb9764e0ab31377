#pragma once
// How long segments are cut into tiles that one CTA serves each: tiles of segments one after the
// other, the last one of a segment possibly short. The host counts them for a grid
// (tiles_of_segment), a kernel finds its own (segment_tiles.cuh).

#include <cstdint>

#include "base/host_device.h"

namespace hlwq::cuda {

// Segments of fewer than `fewest` tokens have no tiles. A token counts `rows_of_token` rows.
struct TileRule {
  int64_t fewest = 1, rows_of_token = 1, rows_of_tile = 1;
};

HLWQ_HD inline int64_t tiles_of_segment(const TileRule& rule, int64_t tokens) {
  if (tokens < rule.fewest) return 0;
  return (tokens * rule.rows_of_token + rule.rows_of_tile - 1) / rule.rows_of_tile;
}

}  // namespace hlwq::cuda
