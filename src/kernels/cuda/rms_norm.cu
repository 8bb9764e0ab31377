// rms_norm.cu: normalized rows, with their int8 form when coded matrices read them.
// Math    y = w * (x * 1/sqrt(mean(x^2) + eps)); then as rotate_quantize.cu
//         sum of squares: four elements of a lane by fma, 32 lanes by halving distances, blocks of
//         128 ascending; the same for every row count and card
// Shapes  x f32[rows][width], w f32[width] -> y f32, xq i8[rows][blocks*128], sx, sum
//         [rows][blocks]
// Bytes   width 2688, one row: 35 KB
// Floor   a launch; its latency is two trips to L2, a barrier and the warp exchanges
// Method  a CTA a row, a warp a block of 128 (more blocks than warps: in turns)

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/cuda/warp_sums.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kMostWarps = 32;
constexpr int kMostBlocks = 1024;  // of a row: 131,072 values
static_assert(kMostBlocks % kSquaresAtOnce == 0 && kSquaresAtOnce <= 32);

__global__ void __launch_bounds__(kMostWarps * 32) rms_norm_rows(const RmsNormRows a, int blocks) {
  __shared__ __align__(16) float block_squares[kMostBlocks];
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t row = blockIdx.x;
  const auto width = static_cast<int>(a.width);
  const float* x = a.x + row * a.x_stride;
  const bool aligned = row_is_aligned(a, row);
  float weight[4], v[4];
  load_lane4(weight, a.weight, warp * kBlock + 4 * lane, width, aligned);
  let_next_start();
  wait_for_inputs();
  for (int block = warp; block < blocks; block += warps) {
    load_lane4(v, x, block * kBlock + 4 * lane, width, aligned);
    float squares[1] = {squares_of_lane(v)};
    sum_over_lanes<1>(squares);
    if (lane == 0) block_squares[block] = squares[0];
  }
  const int padded = (blocks + kSquaresAtOnce - 1) / kSquaresAtOnce * kSquaresAtOnce;
  if (warp == 0 && blocks + lane < padded) block_squares[blocks + lane] = 0.0f;
  __syncthreads();  // block_squares is complete before anyone adds it up
  const float scale = norm_scale(block_squares, blocks, a);
  for (int block = warp; block < blocks; block += warps) {
    const int first = block * kBlock + 4 * lane;
    if (blocks > warps) {  // a warp with one block has both in its registers still
      load_lane4(v, x, first, width, aligned);
      load_lane4(weight, a.weight, first, width, aligned);
    }
    norm_lane(v, weight, scale);
    write_normed(a, row, block, blocks, v, aligned);
  }
}

}  // namespace

void rms_norm(const RmsNormRows& args, cudaStream_t stream) {
  if (args.rows == 0) return;
  const int64_t blocks = blocks_of(args.width);
  const auto warps = static_cast<unsigned>(blocks < kMostWarps ? blocks : kMostWarps);
  launch(rms_norm_rows,
         {.grid = static_cast<unsigned>(args.rows), .block = warps * 32, .stream = stream}, args,
         static_cast<int>(blocks));
}

}  // namespace hlwq::cuda
