#pragma once
// The gated group norm: a group's channels of one token are a row of row_norm.cuh, normed in place.

#include "kernels/cuda/mamba.h"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/cuda/warp_sums.cuh"

namespace hlwq::cuda {

struct NormGroup {
  RmsNormRows rows;  // one row, x and y the same
  int blocks;
  bool aligned;  // row_is_aligned
};

__device__ __forceinline__ NormGroup norm_group(const MambaCall& a, int64_t token, int group) {
  const int width = a.inner / a.groups, blocks = (width + kBlock - 1) / kBlock;
  float* const out = a.out + token * a.out_stride + group * width;
  const int64_t first_block = (token * a.groups + group) * blocks;
  const bool quantized = a.xq != nullptr;
  NormGroup g;
  g.rows = {.x = out,
            .x_stride = 0,
            .weight = a.norm_weight + group * width,
            .eps = a.eps,
            .rows = 1,
            .width = width,
            .y = out,
            .y_stride = 0,
            .xq = quantized ? a.xq + first_block * kBlock : nullptr,
            .sx = quantized ? a.sx + first_block : nullptr,
            .sum = quantized ? a.sum + first_block : nullptr,
            .non_finite = a.non_finite};
  g.blocks = blocks;
  g.aligned = row_is_aligned(g.rows, 0);
  return g;
}

// Of a block; every lane gets it.
__device__ __forceinline__ float sum_of_squares(const float (&v)[4]) {
  float squares[1] = {squares_of_lane(v)};
  sum_over_lanes<1>(squares);
  return squares[0];
}

// Norms block `block` from its gated values and writes it.
__device__ __forceinline__ void write_block(const NormGroup& g, int block, float (&v)[4],
                                            float scale) {
  float weight[4];
  load_lane4(weight, g.rows.weight, block * kBlock + 4 * (threadIdx.x % 32),
             static_cast<int>(g.rows.width), g.aligned);
  norm_lane(v, weight, scale);
  write_normed(g.rows, 0, block, g.blocks, v, g.aligned);
}

}  // namespace hlwq::cuda
