// norm_route.cu: a token's norm, the product with the router's gate and the choice of experts.
// Math    those of rms_norm.cu, plain_product.cu and route.cu, in their order, bit for bit
// Shapes  x f32[width], gate [experts][width] F32, F16 or BF16 -> u f32[width] and its int8 form,
//         ids i32, weights f32 [used]; up to 512 experts and a width of 8192; rows at multiples of
//         16 bytes
// Bytes   the gate: 128 x 2688 F32: 1.4 MB; x and the norm's weight once a CTA, from L2
// Floor   a launch and what follows one after the other: two reads of L2, the norm, a row's 84 fma
//         a lane, three trips to L2 to hand over the scores, the choice: 2.3 us together
// Method  a CTA for one expert (more than 128 experts: for a few). Each brings its rows of the gate
//         to shared memory before x is waited for, norms all of x for itself and keeps u in shared
//         memory; a warp multiplies u with a row. The last warp of the launch to have done so
//         chooses. Each block of u is written by one CTA, meanwhile
// Source  own

#include "base/check.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/last_arrival.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/norm_route.h"
#include "kernels/cuda/plain_lanes.cuh"
#include "kernels/cuda/prefetch.cuh"
#include "kernels/cuda/route_choice.cuh"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/cuda/warp_sums.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kFewWarps = 8, kMostWarps = 16;
constexpr int kTurns = 4;  // blocks of x a warp norms
constexpr int kMostBlocks = kTurns * kMostWarps;
constexpr int kMostCtas = 128;
constexpr int kMostExperts = 512;
static_assert(kFewWarps * kTurns % kSquaresAtOnce == 0);
static_assert(kMostExperts <= kMostCtas * kFewWarps);

// The dot product of a row of the gate and u, both in shared memory. cols % 4 == 0.
template <PlainType kType>
__device__ __forceinline__ float multiply_row(const unsigned char* row, const float* u, int cols) {
  using Raw = typename Weights4<kType>::Raw;
  constexpr int kAhead = 4;  // steps that are read while as many are multiplied
  const int lane = threadIdx.x % 32;
  Raw weights[kAhead];
  float4 x[kAhead];
  const auto load_group = [&](int first) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int k = first + i * kPlainStep + 4 * lane;
      weights[i] = {};
      x[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (k >= cols) continue;
      weights[i] = reinterpret_cast<const Raw*>(row)[k / 4];
      x[i] = *reinterpret_cast<const float4*>(u + k);
    }
  };
  load_group(0);
  float sum[1] = {0.0f};
#pragma unroll 1
  for (int first = 0; first < cols; first += kAhead * kPlainStep) {
    Raw weights_now[kAhead];
    float4 x_now[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      weights_now[i] = weights[i];
      x_now[i] = x[i];
    }
    load_group(first + kAhead * kPlainStep);
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
      sum[0] = multiply_add(widen<kType>(weights_now[i]), x_now[i], sum[0]);
  }
  sum_over_lanes<1>(sum);
  return sum[0];
}

__device__ __forceinline__ float multiply_row(PlainType type, const unsigned char* row,
                                              const float* u, int cols) {
  switch (type) {
    case PlainType::kF32:
      return multiply_row<PlainType::kF32>(row, u, cols);
    case PlainType::kF16:
      return multiply_row<PlainType::kF16>(row, u, cols);
    default:
      return multiply_row<PlainType::kBF16>(row, u, cols);
  }
}

// Shared memory: sums of squares f32[kMostBlocks], u f32[blocks * 128], rows of the gate
// [experts_each], memory of the choice.
template <int kChoiceTurns>
__global__ void __launch_bounds__(kMostWarps * 32, 1)
    norm_route_token(const __grid_constant__ NormRoute a, int row_bytes, int experts_each) {
  extern __shared__ __align__(16) unsigned char shared[];
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto cta = static_cast<int>(blockIdx.x), ctas = static_cast<int>(gridDim.x);
  const auto width = static_cast<int>(a.norm.width);
  const int blocks = (width + kBlock - 1) / kBlock;
  const auto experts = static_cast<int>(a.route.experts);
  const int first_expert = cta * experts_each, rows = min(experts_each, experts - first_expert);
  auto* const block_squares = reinterpret_cast<float*>(shared);
  float* const u = block_squares + kMostBlocks;
  auto* const gate = reinterpret_cast<unsigned char*>(u + blocks * kBlock);
  auto* const choice = reinterpret_cast<float*>(gate + experts_each * row_bytes);
  let_next_start();

  const std::byte* const gate_rows = a.gate + static_cast<int64_t>(first_expert) * row_bytes;
  for (int at = threadIdx.x * 16; at < rows * row_bytes; at += blockDim.x * 16)
    copy_async16(shared_address(gate + at), gate_rows + at);
  commit_copies();
  if (cta == 0) prefetch_l2(a.route.correction_bias, experts * 4);
  float weight[kTurns][4], v[kTurns][4];
  // The lane's first column of its warp's block number `turn`.
  const auto column_of = [&](int turn) { return (warp + turn * warps) * kBlock + 4 * lane; };
  const auto load_blocks = [&](float(&to)[kTurns][4], const float* from) {
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (column_of(i) < width) four = *reinterpret_cast<const float4*>(from + column_of(i));
      to[i][0] = four.x, to[i][1] = four.y, to[i][2] = four.z, to[i][3] = four.w;
    }
  };
  load_blocks(weight, a.norm.weight);
  wait_for_inputs();
  load_blocks(v, a.norm.x);

  float squares[kTurns];
#pragma unroll
  for (int i = 0; i < kTurns; ++i) squares[i] = squares_of_lane(v[i]);
  sum_over_lanes<kTurns>(squares);
  constexpr int kLanesOfSum = 32 / kTurns;
  if (lane % kLanesOfSum == 0) block_squares[warp + lane / kLanesOfSum * warps] = squares[0];
  __syncthreads();  // block_squares is complete: zeros beyond the last block
  const float scale = norm_scale(block_squares, blocks, a.norm);
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    norm_lane(v[i], weight[i], scale);
    if (warp + i * warps < blocks)
      *reinterpret_cast<float4*>(u + column_of(i)) =
          make_float4(v[i][0], v[i][1], v[i][2], v[i][3]);
  }
  wait_for_copies<0>();
  __syncthreads();  // u and the rows of the gate are there

  if (warp < rows) {
    const float score = multiply_row(a.type, gate + warp * row_bytes, u, width);
    int last = 0;
    if (lane == 0) {
      a.scores[first_expert + warp] = score;
      last = arrives_last(a.arrivals, static_cast<uint32_t>(experts)) ? 1 : 0;
    }
    last = __shfl_sync(0xffffffffu, last, 0);
    __syncwarp();  // what lane 0 sees of the other warps' scores, all lanes see
    if (last != 0) choose_experts<kChoiceTurns>(a.route, 0, choice);
  }
  // The last warps begin: the first ones multiply.
  for (int block = cta + (warps - 1 - warp) * ctas; block < blocks; block += warps * ctas) {
    load_lane4(v[0], u, block * kBlock + 4 * lane, blocks * kBlock, true);
    write_normed(a.norm, 0, block, blocks, v[0], true);
  }
}

// How a launch is cut.
struct Cut {
  int experts_each, ctas, warps, row_bytes;
  size_t shared_bytes;
};
Cut cut_of(const NormRoute& args) {
  const int64_t experts = args.route.experts, width = args.norm.width;
  const int64_t blocks = (width + kBlock - 1) / kBlock;
  const int64_t row_bytes = width * (args.type == PlainType::kF32 ? 4 : 2);
  const int64_t each = (experts + kMostCtas - 1) / kMostCtas;
  return {
      .experts_each = static_cast<int>(each),
      .ctas = static_cast<int>((experts + each - 1) / each),
      .warps = blocks <= kFewWarps * kTurns ? kFewWarps : kMostWarps,
      .row_bytes = static_cast<int>(row_bytes),
      .shared_bytes = static_cast<size_t>(
          (kMostBlocks + blocks * kBlock + route_choice_floats(experts, args.route.groups)) * 4 +
          each * row_bytes)};
}

}  // namespace

bool norm_route_takes(const NormRoute& args, const DeviceLimits& device) {
  if (args.norm.rows != 1 || args.norm.width > kMostBlocks * kBlock) return false;
  if (args.route.experts > kMostExperts) return false;
  const Cut cut = cut_of(args);
  return row_is_aligned(args.norm, 0) && args.norm.width % 4 == 0 &&
         reinterpret_cast<uintptr_t>(args.gate) % 16 == 0 && cut.row_bytes % 16 == 0 &&
         cut.shared_bytes <= device.shared_bytes;
}

void norm_route(const NormRoute& args, const DeviceLimits& device, cudaStream_t stream) {
  HLWQ_CHECK(norm_route_takes(args, device) && args.norm.x != args.norm.y);
  HLWQ_CHECK(args.route.tokens == 1 && args.route.groups <= args.route.experts);
  const Cut cut = cut_of(args);
  const auto kernel =
      args.route.experts <= 32 * 4 ? norm_route_token<4> : norm_route_token<kMostExperts / 32>;
  allow_shared_bytes(kernel, device);
  launch(kernel,
         {.grid = static_cast<unsigned>(cut.ctas),
          .block = static_cast<unsigned>(cut.warps * 32),
          .shared_bytes = cut.shared_bytes,
          .stream = stream},
         args, cut.row_bytes, cut.experts_each);
}

}  // namespace hlwq::cuda
