// plain_product.cu: y = W x with F32, F16 or BF16 weights, FP32 activations and sums.
// Math    lane l of a warp sums k = 128 i + 4 l .. + 3 by fma, ascending k, from +0; the 32 lanes
//         are added in the tree of distances 16, 8, 4, 2, 1. Every tile does just that, so the bits
//         of an output do not depend on which tile it is in
// Shapes  W [rows][cols], x f32[tokens][cols] -> y f32[tokens][rows]; any rows, cols, tokens;
//         up to four W that share x, or one an expert
// Bytes   W once a tile of tokens. The router's gate, 128 x 2688 F32: 1.4 MB
// Floor   one token: a launch and a trip to memory; 4096 tokens of the gate: 1.4 G fma, 48 us
// Method  a warp holds a tile of kRows x kTokens sums, and its next weights while it multiplies.
//         One token: 1 x 1, weights asked for eight steps ahead and before x is waited for. Many:
//         4 x 8, 16 warps a CTA that share rows and tokens through L1

#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/plain_lanes.cuh"
#include "kernels/cuda/plain_product.h"
#include "kernels/cuda/product_grid.cuh"
#include "kernels/cuda/warp_sums.cuh"

namespace hlwq::cuda {
namespace {

struct PlainArgs {
  PlainRows x;
  ProductGrid grid;
  int token_warps = 1;  // warps of a CTA that share rows; the others share tokens
};

// Columns k .. k+3 of a row of weights, zeros beyond `cols`.
template <PlainType kType, bool kAligned>
__device__ __forceinline__ typename Weights4<kType>::Raw load_weights(const std::byte* row, int k,
                                                                      int cols) {
  using Raw = typename Weights4<kType>::Raw;
  Raw raw = {};
  if constexpr (kAligned) {  // then cols is a multiple of 4
    if (k < cols) raw = __ldg(reinterpret_cast<const Raw*>(row) + k / 4);
  } else if constexpr (kType == PlainType::kF32) {
    const auto* from = reinterpret_cast<const uint32_t*>(row) + k;
    if (k < cols) raw.x = from[0];
    if (k + 1 < cols) raw.y = from[1];
    if (k + 2 < cols) raw.z = from[2];
    if (k + 3 < cols) raw.w = from[3];
  } else {
    const auto* from = reinterpret_cast<const uint16_t*>(row) + k;
    if (k < cols) raw.x = from[0];
    if (k + 1 < cols) raw.x |= static_cast<uint32_t>(from[1]) << 16;
    if (k + 2 < cols) raw.y = from[2];
    if (k + 3 < cols) raw.y |= static_cast<uint32_t>(from[3]) << 16;
  }
  return raw;
}

template <bool kAligned>
__device__ __forceinline__ float4 load_x(const float* row, int k, int cols) {
  float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if constexpr (kAligned) {
    if (k < cols) x = *reinterpret_cast<const float4*>(row + k);
  } else {
    if (k < cols) x.x = row[k];
    if (k + 1 < cols) x.y = row[k + 1];
    if (k + 2 < cols) x.z = row[k + 2];
    if (k + 3 < cols) x.w = row[k + 3];
  }
  return x;
}

// kAhead > 1: so many steps of weights are in registers while as many more are on their way.
template <PlainType kType, bool kAligned, int kRows, int kTokens, int kAhead, int kMostWarps>
__global__ void __launch_bounds__(kMostWarps * 32)
    plain_tiles(const __grid_constant__ PlainArgs a) {
  using Raw = typename Weights4<kType>::Raw;
  constexpr int kBytes = kType == PlainType::kF32 ? 4 : 2;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int row_warps = blockDim.x / 32 / a.token_warps;
  const auto cols = static_cast<int>(a.x.cols);
  const BlockJob job = find_job(a.grid);
  const int row = job.first_row + warp % row_warps * kRows;
  const int first_input = job.begin + warp / row_warps * kTokens;
  if (first_input >= job.end || row >= job.rows) {
    wait_for_inputs();
    return;
  }
  const std::byte* weights[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t at = min(row + r, job.rows - 1);  // rows beyond repeat the last one
    weights[r] = job.matrix + at * cols * kBytes;
  }
  // Step `first / kPlainStep` and those after it.
  const auto load_group = [&](Raw(&group)[kAhead][kRows], int first) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        group[i][r] =
            load_weights<kType, kAligned>(weights[r], first + i * kPlainStep + 4 * lane, cols);
  };
  constexpr bool kPrefetches = kAhead > 1;  // else other warps hide the wait
  Raw next[kAhead][kRows];
  if constexpr (kPrefetches) load_group(next, 0);
  let_next_start();
  wait_for_inputs();

  for (int input = first_input; input < job.end; input += a.token_warps * kTokens) {
    if (kPrefetches && input != first_input) load_group(next, 0);
    const float* x[kTokens];
#pragma unroll
    for (int t = 0; t < kTokens; ++t)
      x[t] = a.x.x + job.row_of(min(input + t, job.end - 1)) * a.x.stride;
    float sums[kTokens * kRows] = {};
    for (int first = 0; first < cols; first += kAhead * kPlainStep) {
      Raw now[kAhead][kRows];
      if constexpr (kPrefetches) {
#pragma unroll
        for (int i = 0; i < kAhead; ++i)
#pragma unroll
          for (int r = 0; r < kRows; ++r) now[i][r] = next[i][r];
        load_group(next, first + kAhead * kPlainStep);
      } else {
        load_group(now, first);
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (i > 0 && first + i * kPlainStep >= cols) continue;
        float4 w[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) w[r] = widen<kType>(now[i][r]);
#pragma unroll
        for (int t = 0; t < kTokens; ++t) {
          const float4 in = load_x<kAligned>(x[t], first + i * kPlainStep + 4 * lane, cols);
#pragma unroll
          for (int r = 0; r < kRows; ++r)
            sums[t * kRows + r] = multiply_add(w[r], in, sums[t * kRows + r]);
        }
      }
    }
    constexpr int kSums = kTokens * kRows;
    static_assert(kSums <= 32);
    sum_over_lanes<kSums>(sums);
    const int n = lane * kSums / 32;  // which sum this lane has
    if (lane % (32 / kSums) == 0 && input + n / kRows < job.end && row + n % kRows < job.rows)
      job.store(input + n / kRows, row + n % kRows, sums[0]);
  }
}

// Calls f with the type and the alignment as constants.
template <typename F>
void with_type(PlainType type, bool aligned, F&& f) {
  const auto with_alignment = [&](auto constant) {
    aligned ? f(constant, std::true_type{}) : f(constant, std::false_type{});
  };
  switch (type) {
    case PlainType::kF32:
      return with_alignment(std::integral_constant<PlainType, PlainType::kF32>{});
    case PlainType::kF16:
      return with_alignment(std::integral_constant<PlainType, PlainType::kF16>{});
    case PlainType::kBF16:
      return with_alignment(std::integral_constant<PlainType, PlainType::kBF16>{});
  }
}

// `inputs`, the rows of x that meet one matrix, decide the tile; `rows`, of all matrices, how
// thinly a product of one row is spread.
void launch_tiles(PlainArgs& args, int64_t inputs, int64_t rows, PlainType type, bool aligned,
                  cudaStream_t stream) {
  with_type(type, aligned, [&](auto type_constant, auto aligned_constant) {
    constexpr PlainType kType = decltype(type_constant)::value;
    constexpr bool kAligned = decltype(aligned_constant)::value;
    const auto launch_cut = [&](auto kernel, int row_warps, int tile_rows, int tile_tokens) {
      const dim3 grid = cut(args.grid, row_warps * tile_rows, args.token_warps * tile_tokens);
      const auto threads = static_cast<unsigned>(row_warps * args.token_warps * 32);
      launch(kernel, {.grid = grid, .block = threads, .stream = stream}, args);
    };
    if (inputs <= 1) {
      const int row_warps = rows <= 512 ? 1 : rows <= 2048 ? 4 : 8;
      launch_cut(plain_tiles<kType, kAligned, 1, 1, 8, 8>, row_warps, 1, 1);
    } else if (inputs <= 4) {
      launch_cut(plain_tiles<kType, kAligned, 2, 4, 2, 4>, 4, 2, 4);
    } else {
      args.token_warps = inputs <= 8 ? 1 : inputs <= 16 ? 2 : 4;
      launch_cut(plain_tiles<kType, kAligned, 4, 8, 1, 16>, 4, 4, 8);
    }
  });
}

bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace

void plain_product(const PlainRows& x, int64_t tokens, const ProductTargets& targets,
                   PlainType type, const ExpertPairs& experts, cudaStream_t stream) {
  PlainArgs args;
  args.x = x;
  if (!name_inputs(args.grid, tokens, targets, experts)) return;
  HLWQ_CHECK(x.cols >= 1 && x.cols < INT32_MAX - 4096);
  bool aligned = aligned16(x.x) && x.stride % 4 == 0 && x.cols % 4 == 0;
  int64_t rows = 0;
  for (int i = 0; i < targets.count; ++i) {
    aligned = aligned && aligned16(targets.target[i].matrix);
    rows += targets.target[i].rows;
  }
  if (experts.table != nullptr) rows = experts.rows * experts.pairs;
  launch_tiles(args, inputs_of_a_matrix(args.grid), rows, type, aligned, stream);
}

}  // namespace hlwq::cuda
