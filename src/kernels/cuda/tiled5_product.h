#pragma once
// Products with kTiled5 matrices, bit for bit those of ops/integer_dot.h, for any number of rows.
// All launchers give the same bits; which one runs is a matter of speed (cuda_products.cc).

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device_limits.h"
#include "kernels/cuda/expert_tiles.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/rms_norm.h"

namespace hlwq::cuda {

// A table's sixteen magnitudes v[16..31], four to a word, and its grid_factor.
struct Tiled5Table {
  uint32_t words[4];
  float factor;
};

// Which experts meet which pairs of a launch. With tiles null there is one token, whose pair p is
// with expert ids[p].
struct Tiled5Experts {
  const ExpertAddress* table = nullptr;
  bool down = false;
  int64_t rows = 0;  // of each expert's matrix
  Tiled5Table codes = {};
  const int32_t* ids = nullptr;         // one token: [pairs]
  const ExpertTile* tiles = nullptr;    // else [*tile_count]
  const int32_t* tile_count = nullptr;  // null: most_tiles of them
  const int32_t* input_row = nullptr;  // [pairs] row of x a pair reads; null: one token's only row,
                                       // or with tiles the pair itself
  int64_t most_tiles = 0;              // pairs (one token), or at least the number of tiles
  float* y = nullptr;                  // [pairs, y_stride]
  int64_t y_stride = 0;
  const uint32_t* ready = nullptr;  // one token: set when the matrices have arrived, by a kernel
                                    // that may go on then (fetch_experts.cu); null: they are there
};

// Rows of x that one tile of tiled5_few and of tiled5_many holds.
inline constexpr int kFewRows = 8;
inline constexpr int kManyRows[] = {16, 32, 64};

// One row of x against the targets (all with the same table) and, in the same launch, the experts
// when experts.table is not null (its x is the same). The product of single-stream decode. With
// `norm` (one row; its y, xq, sx and sum are not used) the row is normed first, and of x only the
// number of blocks counts.
// tiled5_one_takes: so many blocks a row and experts at once are within its limits.
void tiled5_one(const QuantizedRows& x, const RmsNormRows* norm, const ProductTargets& targets,
                const Tiled5Table& codes, const Tiled5Experts& experts, const DeviceLimits& device,
                cudaStream_t stream);
[[nodiscard]] bool tiled5_one_takes(int64_t blocks, int64_t pairs, const DeviceLimits& device);

// x [tokens] against the targets (all with the same table), 8 rows of x at a time.
// tiled5_few_takes: the chunk sums of such rows fit shared memory.
void tiled5_few(const QuantizedRows& x, int64_t tokens, const ProductTargets& targets,
                const Tiled5Table& codes, cudaStream_t stream);
[[nodiscard]] bool tiled5_few_takes(int64_t blocks);

// The same for many rows, and for experts, on tensor cores; `tile_rows` is one of kManyRows, and
// that of the experts' tiles. Experts without an address: of up matrices the rows become zeros, of
// down matrices they stay what they are.
void tiled5_many(const QuantizedRows& x, int64_t tokens, const ProductTargets& targets,
                 const Tiled5Table& codes, const Tiled5Experts& experts, int tile_rows,
                 cudaStream_t stream);

// One token's experts from their hidden layers, summed, with the shared expert and the residual
// (those that the table has no address of: their outputs are rows of host_out):
//   y = sum_i fma(weights[i], down[ids[i]] hidden[i]) (ascending i) + shared_down shared_hidden
//   residual += y
struct Tiled5Sum {
  QuantizedRows hidden;  // [pairs]
  const ExpertAddress* table;
  const int32_t* ids;
  const float* weights;
  int64_t pairs;
  Tiled5Table codes;
  const std::byte* shared = nullptr;  // null: none
  QuantizedRows shared_hidden;
  Tiled5Table shared_codes;
  int64_t rows;  // of every matrix: the width of y
  float* y;
  float* residual;  // may be null
  const uint32_t* ready =
      nullptr;  // by expert: set when its matrix has arrived; null: all are there
  const float* host_out = nullptr;       // [pairs, rows]; null: the table has all
  const uint32_t* host_ready = nullptr;  // set when host_out is
};
void tiled5_sum_experts(const Tiled5Sum& args, const DeviceLimits& device, cudaStream_t stream);
// Its hidden layers fit shared memory.
[[nodiscard]] bool tiled5_sum_takes(int64_t pairs, int64_t blocks, int64_t shared_blocks,
                                    const DeviceLimits& device);

}  // namespace hlwq::cuda
