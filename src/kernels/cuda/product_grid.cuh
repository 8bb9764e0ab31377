#pragma once
// How the general product kernels cut a product into thread blocks. A block takes a tile of rows of
// one matrix and a range of inputs: rows of x (dense), or the sorted pairs of one expert.
//
//   dense      grid.x over the row tiles of all targets, grid.y over ranges of rows of x
//   by expert  grid.x over row tiles; grid.y over the experts or, when there are fewer pairs, over
//              the pairs, of which the first of each expert stands for all of that expert's

#include <cuda_runtime.h>

#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/product.h"
#include "ops/integer_dot.h"

namespace hlwq::cuda {

struct ProductGrid {
  ProductTargets targets;                 // dense
  int first_tile[kMostTargets + 1] = {};  // of each target; the last is the number of tiles
  int tokens = 0;                         // dense: rows of x
  int block_rows = 0, block_inputs = 0;   // block_inputs: dense only
  ExpertPairs experts;                    // table null: dense
};

// False when there is nothing to multiply.
inline bool name_inputs(ProductGrid& grid, int64_t tokens, const ProductTargets& targets,
                        const ExpertPairs& experts) {
  HLWQ_CHECK(tokens <= INT32_MAX && experts.pairs <= INT32_MAX);
  grid.targets = targets;
  grid.tokens = static_cast<int>(tokens);
  grid.experts = experts;
  return experts.table != nullptr ? experts.pairs > 0 : tokens > 0 && targets.count > 0;
}

// Rows of x that meet one matrix, on average.
inline int64_t inputs_of_a_matrix(const ProductGrid& grid) {
  const ExpertPairs& experts = grid.experts;
  if (experts.table == nullptr) return grid.tokens;
  return (experts.pairs + experts.experts - 1) / experts.experts;
}

// Sets how blocks of `block_rows` rows and (dense) `block_inputs` inputs cover it.
inline dim3 cut(ProductGrid& grid, int block_rows, int block_inputs) {
  grid.block_rows = block_rows;
  grid.block_inputs = block_inputs;
  const ExpertPairs& experts = grid.experts;
  int64_t tiles = 0, ranges = 0;
  if (experts.table == nullptr) {
    for (int i = 0; i < kMostTargets; ++i) {
      grid.first_tile[i] = static_cast<int>(tiles);
      if (i < grid.targets.count)
        tiles += (grid.targets.target[i].rows + block_rows - 1) / block_rows;
    }
    grid.first_tile[kMostTargets] = static_cast<int>(tiles);
    ranges = (grid.tokens + block_inputs - 1) / block_inputs;
  } else {
    tiles = (experts.rows + block_rows - 1) / block_rows;
    ranges = experts.pairs < experts.experts ? experts.pairs : experts.experts;
  }
  HLWQ_CHECK(tiles >= 1 && tiles <= INT32_MAX && ranges <= 65535);
  return {static_cast<unsigned>(tiles), static_cast<unsigned>(ranges)};
}

// What one thread block computes.
struct BlockJob {
  const std::byte* matrix;
  int rows, first_row;
  int begin, end;            // inputs
  const int32_t* input_row;  // null: input i is row i of x
  float* y;                  // of input 0
  int64_t y_stride;
  const float* bias;
  bool accumulate;

  [[nodiscard]] __device__ int64_t row_of(int input) const {
    return input_row == nullptr ? input : input_row[input];
  }
  __device__ void store(int input, int row, float product) const {
    float* out = y + input * y_stride + row;
    *out =
        finish_product(product, bias == nullptr ? nullptr : bias + row, accumulate ? out : nullptr);
  }
};

// The expert that owns a pair: as many as end at or before it come before that one. All lanes call.
__device__ __forceinline__ int expert_of_pair(const ExpertPairs& pairs, int pair) {
  unsigned before = 0;
  for (int e = threadIdx.x % 32; e < pairs.experts; e += 32) before += pairs.begin[e + 1] <= pair;
  return static_cast<int>(__reduce_add_sync(0xffffffffu, before));
}

// The block's part of the product; an empty range of inputs when there is none. By expert it waits
// for the kernels before; dense the caller does, when it has asked for its weights.
__device__ __forceinline__ BlockJob find_job(const ProductGrid& grid) {
  const int tile = static_cast<int>(blockIdx.x), range = static_cast<int>(blockIdx.y);
  if (grid.experts.table == nullptr) {
    int which = 0;
    while (which + 1 < grid.targets.count && tile >= grid.first_tile[which + 1]) ++which;
    const ProductTarget& target = grid.targets.target[which];
    const int begin = range * grid.block_inputs;
    return {target.matrix,
            static_cast<int>(target.rows),
            (tile - grid.first_tile[which]) * grid.block_rows,
            begin,
            min(begin + grid.block_inputs, grid.tokens),
            nullptr,
            target.y,
            target.y_stride,
            target.bias,
            target.accumulate};
  }
  wait_for_inputs();
  const ExpertPairs& pairs = grid.experts;
  const bool over_experts = gridDim.y == pairs.experts;
  const int pair = static_cast<int>(pairs.first_pair) + range;
  const int expert = over_experts ? range : expert_of_pair(pairs, pair);
  const int begin = pairs.begin[expert], end = pairs.begin[expert + 1];
  const ExpertAddress& entry = pairs.table[expert];
  return {pairs.down ? entry.down : entry.up,
          static_cast<int>(pairs.rows),
          tile * grid.block_rows,
          begin,
          over_experts || begin == pair ? end : begin,
          pairs.input_row,
          pairs.y,
          pairs.y_stride,
          nullptr,
          false};
}

}  // namespace hlwq::cuda
