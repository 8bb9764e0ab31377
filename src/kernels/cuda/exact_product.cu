// exact_product.cu: y = W x with coded W decoded to its levels and FP32 activations: the measure of
// the integer product, not a fast path.
// Math    y[t][r] = sum_b (norm[r][b] * factor) * sum_i (2 v[code] + 1) * xr[t][b][i]; lane l sums
//         i = 4l .. 4l+3 of a block by fma from a product, then the blocks ascending by fma from
//         +0; the 32 lanes in the tree of distances 16, 8, 4, 2, 1
// Shapes  coded W of any layout, rows and blocks; xr f32[tokens][blocks*128], unnormalized rotation
// Bytes   the codes once a tile of tokens, and 512 a block and token
// Floor   many tokens: four bytes of xr a product from L1, shared by the rows of a tile
// Method  a warp for a tile of rows x tokens; a lane decodes its four codes of a block once a tile

#include "kernels/cuda/coded_lanes.cuh"
#include "kernels/cuda/exact_product.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/product_grid.cuh"
#include "kernels/cuda/rotate_quantize.cuh"
#include "kernels/cuda/warp_sums.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8;

__global__ void __launch_bounds__(kWarps * 32)
    rotate_blocks(const float* x, int64_t stride, int64_t rows, int cols, int blocks,
                  float* rotated, uint32_t* non_finite) {
  wait_for_inputs();
  let_next_start();
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (at >= rows * blocks) return;
  const int lane = threadIdx.x % 32;
  const float* from = x + at / blocks * stride;
  float z[4];
  load_lane4(z, from, static_cast<int>(at % blocks) * kBlock + 4 * lane, cols,
             reinterpret_cast<uintptr_t>(from) % 16 == 0);
  rotate_block(z);
  reinterpret_cast<float4*>(rotated + at * kBlock)[lane] = make_float4(z[0], z[1], z[2], z[3]);
  bool finite = true;
#pragma unroll
  for (int i = 0; i < 4; ++i) finite = finite && fabsf(z[i]) <= 3.402823466e38f;
  if (!finite) *non_finite = 1;
}

struct ExactArgs {
  const float* rotated;
  int blocks;
  ProductGrid grid;
  CodedForm form;
};

template <int kRows, int kTokens>
__global__ void __launch_bounds__(kWarps * 32) exact_tiles(const __grid_constant__ ExactArgs a) {
  __shared__ float odd_levels[256];
  for (int k = threadIdx.x; k < 1 << a.form.bits; k += kWarps * 32)
    odd_levels[k] = static_cast<float>(2 * a.form.levels[k] + 1);
  __syncthreads();  // the levels are there before anyone looks one up
  const BlockJob job = find_job(a.grid);
  wait_for_inputs();
  let_next_start();
  const int lane = threadIdx.x % 32, blocks = a.blocks;
  const int first_row = job.first_row + static_cast<int>(threadIdx.x) / 32 * kRows;
  if (first_row >= job.rows) return;
  for (int input = job.begin; input < job.end; input += kTokens) {
    const float4* x[kTokens];
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const int64_t row = job.row_of(min(input + t, job.end - 1));
      x[t] = reinterpret_cast<const float4*>(a.rotated + row * blocks * kBlock) + lane;
    }
    float sums[kTokens * kRows] = {};
    for (int block = 0; block < blocks; ++block) {
      float4 w[kRows];
      float scale[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int row = min(first_row + r, job.rows - 1);  // rows beyond repeat the last one
        uint32_t codes[4];
        load_lane_codes(codes, a.form, job.matrix, job.rows, blocks, row, block);
        w[r] = make_float4(odd_levels[codes[0]], odd_levels[codes[1]], odd_levels[codes[2]],
                           odd_levels[codes[3]]);
        scale[r] = load_norm(a.form, job.matrix, job.rows, blocks, row, block) * a.form.factor;
      }
#pragma unroll
      for (int t = 0; t < kTokens; ++t) {
        const float4 in = x[t][block * (kBlock / 4)];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          const float dot =
              fmaf(w[r].w, in.w, fmaf(w[r].z, in.z, fmaf(w[r].y, in.y, w[r].x * in.x)));
          sums[t * kRows + r] = fmaf(scale[r], dot, sums[t * kRows + r]);
        }
      }
    }
    constexpr int kSums = kTokens * kRows;
    static_assert(kSums <= 32);
    sum_over_lanes<kSums>(sums);
    const int n = lane * kSums / 32;  // which sum this lane has
    if (lane % (32 / kSums) == 0 && input + n / kRows < job.end && first_row + n % kRows < job.rows)
      job.store(input + n / kRows, first_row + n % kRows, sums[0]);
  }
}

}  // namespace

void rotate_rows(const float* x, int64_t stride, int64_t rows, int64_t cols, float* rotated,
                 uint32_t* non_finite, cudaStream_t stream) {
  if (rows == 0) return;
  const int64_t blocks = blocks_of(cols);
  const auto grid = static_cast<unsigned>((rows * blocks + kWarps - 1) / kWarps);
  launch(rotate_blocks, {.grid = grid, .block = kWarps * 32, .stream = stream}, x, stride, rows,
         static_cast<int>(cols), static_cast<int>(blocks), rotated, non_finite);
}

void exact_product(const float* rotated, int64_t blocks, int64_t tokens,
                   const ProductTargets& targets, const CodedForm& form, const ExpertPairs& experts,
                   cudaStream_t stream) {
  ExactArgs args = {
      .rotated = rotated, .blocks = static_cast<int>(blocks), .grid = {}, .form = form};
  if (!name_inputs(args.grid, tokens, targets, experts)) return;
  const auto launch_cut = [&](auto kernel, int tile_rows, int tile_tokens) {
    const dim3 grid = cut(args.grid, kWarps * tile_rows, tile_tokens);
    launch(kernel, {.grid = grid, .block = kWarps * 32, .stream = stream}, args);
  };
  if (inputs_of_a_matrix(args.grid) <= 1) {
    launch_cut(exact_tiles<1, 1>, 1, 1);
  } else {
    launch_cut(exact_tiles<2, 8>, 2, 8);
  }
}

}  // namespace hlwq::cuda
