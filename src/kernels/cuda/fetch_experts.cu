// fetch_experts.cu: records of experts from pinned host memory to their slots.
// Shapes  [*copy_count] copies of the layer's record bytes each
// Bytes   a record a miss over PCIe; 30B: 6.50 MB
// Floor   6.50 MB at the 50.8 GB/s that kernels read pinned memory with (the copy engine 53.8; a
//         host with Gen5 x16): 128 us
// Method  a few CTAs keep some 260 KB of reads on their way: 8 of them are as fast as 264. The up
//         matrices of all come first; products with them go on beside this kernel while the down
//         matrices come. How many there are is known to the device alone: none is a short launch
// Source  own; why not the copy engine: docs/kernels.md

#include "kernels/cuda/last_arrival.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/place_experts.h"
#include "kernels/cuda/ready_flag.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kAhead = 8;  // reads of a thread on their way

__device__ __forceinline__ uint64_t nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

// The CTA's part of `bytes` of every copy from `offset` on.
__device__ __forceinline__ void copy_part(const ExpertCache& c, int copies, int64_t offset,
                                          int64_t bytes) {
  const int64_t words = bytes / static_cast<int64_t>(sizeof(uint4));
  for (int i = 0; i < copies; ++i) {
    const auto* const from = reinterpret_cast<const uint4*>(c.copies[i].from + offset);
    auto* const to = reinterpret_cast<uint4*>(c.copies[i].to + offset);
    constexpr int64_t kTurn = int64_t{kThreads} * kAhead;
    for (int64_t first = blockIdx.x * kTurn + threadIdx.x; first < words;
         first += kFetchCtas * kTurn) {
      uint4 word[kAhead];
#pragma unroll
      for (int k = 0; k < kAhead; ++k)
        if (first + k * kThreads < words) word[k] = __ldcs(from + first + k * kThreads);
#pragma unroll
      for (int k = 0; k < kAhead; ++k)
        if (first + k * kThreads < words) to[first + k * kThreads] = word[k];
    }
  }
  __syncthreads();  // the CTA's part is done
}

__global__ void __launch_bounds__(kThreads) fetch_experts_of_layer(const ExpertCache c, int layer) {
  wait_for_inputs();
  // Not before: the next kernel looks at flags that place_experts has taken back.
  let_next_start();
  const int copies = *c.copy_count;
  if (copies == 0) return;
  const uint64_t began = nanoseconds();
  const ExpertRecord record = c.records[layer];
  copy_part(c, copies, 0, record.down_offset);
  if (threadIdx.x == 0 && arrives_last(c.arrivals, kFetchCtas)) set_ready(c.ready);
  copy_part(c, copies, record.down_offset, record.bytes - record.down_offset);
  if (threadIdx.x == 0 && arrives_last(c.arrivals + 1, kFetchCtas)) {
    // Nothing after the flag: later kernels wait for it, not for the end of this one.
    c.counts[layer].stall_ns += nanoseconds() - began;
    set_ready(c.ready + 1);
  }
}

}  // namespace

void fetch_experts(const ExpertCache& cache, int64_t layer, cudaStream_t stream) {
  launch(fetch_experts_of_layer, {.grid = kFetchCtas, .block = kThreads, .stream = stream}, cache,
         static_cast<int>(layer));
}

}  // namespace hlwq::cuda
