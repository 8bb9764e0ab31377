// read_bandwidth.cu: reads a buffer once and does next to nothing with it: the roof of every kernel
// that is limited by memory.
// Math    sums[warp] = xor of all 32-bit words its threads read
// Shapes  data [pieces][8][256] of 16 bytes; thread t of a block reads data[piece][.][t] of pieces
//         blockIdx, blockIdx + gridDim, ...; sums [gridDim][8]
// Bytes   32 KiB a piece
// Floor   2 GiB at 4.8 TB/s (the H200's data sheet) = 0.45 ms
// Method  eight independent 16-byte loads a thread are in flight; streaming, as nothing is read
// again

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/read_bandwidth.h"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLoads = 8;
static_assert(kReadPieceBytes == sizeof(uint4) * kThreads * kLoads);

__global__ void __launch_bounds__(kThreads)
    read_all_kernel(const uint4* __restrict__ data, int64_t pieces, uint32_t* __restrict__ sums) {
  wait_for_inputs();
  uint32_t sum = 0;
  for (int64_t piece = blockIdx.x; piece < pieces; piece += gridDim.x) {
    const uint4* const from = data + piece * (kThreads * kLoads) + threadIdx.x;
    uint4 words[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) words[i] = __ldcs(from + i * kThreads);
#pragma unroll
    for (int i = 0; i < kLoads; ++i) sum ^= words[i].x ^ words[i].y ^ words[i].z ^ words[i].w;
  }
  sum = __reduce_xor_sync(0xffffffffu, sum);
  if (threadIdx.x % 32 == 0) sums[blockIdx.x * (kThreads / 32) + threadIdx.x / 32] = sum;
}

}  // namespace

void read_all(const std::byte* data, size_t bytes, uint32_t* sums, int blocks,
              cudaStream_t stream) {
  static_assert(read_sum_words(1) == kThreads / 32);
  launch(read_all_kernel, {dim3(blocks), dim3(kThreads), 0, stream},
         reinterpret_cast<const uint4*>(data), static_cast<int64_t>(bytes / kReadPieceBytes), sums);
}

}  // namespace hlwq::cuda
