// fetch_experts.cu: records of experts from pinned host memory to their slots.
// Shapes  [*copy_count] copies of the layer's record bytes each
// Bytes   a record a miss over PCIe; 30B: 6.50 MB
// Floor   6.50 MB at the 50.8 GB/s that kernels read pinned memory with (the copy engine 53.8; a
//         host with Gen5 x16): 128 us
// Method  a few CTAs keep some 260 KB of reads on their way: 8 of them are as fast as 264. The up
//         matrices of all come first; products with them go on beside this kernel while the down
//         matrices come, each with a flag of its own. How many there are is known to the device
//         alone: none is a short launch
// Source  own; why not the copy engine: docs/kernels.md

#include "base/check.h"
#include "kernels/cuda/answer_wait.cuh"
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

// Copies the CTA's part of `bytes` from `offset` on of every record, and calls done(i) in all
// threads when those before it have done that of copy i. The next copy's first reads are on their
// way then, so that the bus does not wait.
template <typename Done>
__device__ __forceinline__ void copy_parts(const ExpertCache& c, int copies, int64_t offset,
                                           int64_t bytes, Done&& done) {
  const int64_t words = bytes / static_cast<int64_t>(sizeof(uint4));
  constexpr int64_t kTurn = int64_t{kThreads} * kAhead;
  int reported = 0;
  for (int i = 0; i < copies; ++i) {
    const auto* const from = reinterpret_cast<const uint4*>(c.copies[i].from + offset);
    auto* const to = reinterpret_cast<uint4*>(c.copies[i].to + offset);
    for (int64_t turn = blockIdx.x * kTurn; turn < words; turn += kFetchCtas * kTurn) {
      const int64_t first = turn + threadIdx.x;
      uint4 word[kAhead];
#pragma unroll
      for (int k = 0; k < kAhead; ++k)
        if (first + k * kThreads < words) word[k] = __ldcs(from + first + k * kThreads);
      for (; reported < i; ++reported) {
        __syncthreads();  // the CTA has stored its part of the copies before
        done(reported);
      }
#pragma unroll
      for (int k = 0; k < kAhead; ++k)
        if (first + k * kThreads < words) to[first + k * kThreads] = word[k];
    }
  }
  for (; reported < copies; ++reported) {
    __syncthreads();  // the CTA has stored its part
    done(reported);
  }
}

// Rows of the answer, from the mail to the device. CTA `part` of kAnswerCtas.
__device__ __forceinline__ void take_answer(const ExpertCache& c, const AnswerOfOne& a, int part) {
  if (*c.host_ready != 0) return;
  if (threadIdx.x == 0) wait_for_answer(a.mail.answered, *c.questions);
  __syncthreads();  // the answer is there
  const int lane = threadIdx.x % 32;
  const bool mine = lane < a.pairs && a.table[a.ids[lane]].up == nullptr;
  unsigned handed = __ballot_sync(0xffffffffu, mine);
  const auto words = static_cast<int>(a.mail.shape.width / 4);  // of a row
  const int all = __popc(handed) * words;
  constexpr int kStep = kThreads * kAnswerCtas;
  for (int first = part * kThreads + static_cast<int>(threadIdx.x); first < all;
       first += kStep * kAhead) {
    float4 word[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k)
      if (first + k * kStep < all)
        word[k] = __ldcv(reinterpret_cast<const float4*>(a.mail.y) + first + k * kStep);
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      const int at = first + k * kStep;
      if (at >= all) continue;
      const auto choice = static_cast<int>(__fns(handed, 0, at / words + 1));
      reinterpret_cast<float4*>(a.out)[choice * words + at % words] = word[k];
    }
  }
  __syncthreads();  // the CTA has stored its part
  if (threadIdx.x == 0 && arrives_last(c.arrivals + c.shape.experts + 1, kAnswerCtas))
    set_ready(c.host_ready);
}

__global__ void __launch_bounds__(kThreads, 1)
    fetch_experts_of_layer(const ExpertCache c, int layer, const AnswerOfOne answer) {
  wait_for_inputs();
  // Not before: the next kernel looks at flags that place_experts has taken back.
  let_next_start();
  if (blockIdx.x >= kFetchCtas) return take_answer(c, answer, blockIdx.x - kFetchCtas);
  const int copies = *c.copy_count;
  if (copies == 0) return;
  const uint64_t began = nanoseconds();
  const ExpertRecord record = c.records[layer];
  copy_parts(c, copies, 0, record.down_offset, [&](int i) {
    if (i + 1 < copies || threadIdx.x != 0) return;
    if (arrives_last(c.arrivals, kFetchCtas)) set_ready(c.up_ready);
  });
  copy_parts(c, copies, record.down_offset, record.bytes - record.down_offset, [&](int i) {
    if (threadIdx.x != 0 || !arrives_last(c.arrivals + 1 + i, kFetchCtas)) return;
    // Nothing after the last flag: later kernels wait for it, not for the end of this one.
    if (i + 1 == copies) {
      const uint64_t ns = nanoseconds() - began;
      c.counts[layer].stall_ns += ns;
      *c.bus = {c.bus->ns + ns, c.bus->records + static_cast<uint64_t>(copies)};
      if (answer.mail.bus != nullptr) *answer.mail.bus = *c.bus;
    }
    set_ready(c.down_ready + c.copies[i].expert);
  });
}

}  // namespace

void fetch_experts(const ExpertCache& cache, int64_t layer, const AnswerOfOne& answer,
                   cudaStream_t stream) {
  HLWQ_CHECK(answer.pairs <= 32 && answer.mail.shape.width % 4 == 0);
  const unsigned ctas = answer.pairs > 0 ? kFetchCtas + kAnswerCtas : kFetchCtas;
  launch(fetch_experts_of_layer, {.grid = ctas, .block = kThreads, .stream = stream}, cache,
         static_cast<int>(layer), answer);
}

}  // namespace hlwq::cuda
