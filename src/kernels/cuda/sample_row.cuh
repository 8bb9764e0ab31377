#pragma once
// What the kernels of sample.cu share: the logits of a row as the rule sees them, part by part, and
// sums over a CTA.

#include <cstdint>

#include "kernels/cuda/sample.h"
#include "ops/sampling.h"

namespace hlwq::cuda {

inline constexpr int kSampleThreads = 256;
inline constexpr int kOwn = 8;  // consecutive ids of a thread
inline constexpr int kSampleTile = kSampleThreads * kOwn;

struct Part {
  int begin, end;  // ids
};
__device__ __forceinline__ Part part_at(const SampledRows& a, int part, int part_ids) {
  const int begin = part * part_ids;
  return {begin, min(begin + part_ids, a.vocabulary)};
}

// The logits of one row as the rule sees them, part by part.
class RowReader {
 public:
  // `marks`: a bit an id of a part.
  __device__ RowReader(const SampledRows& a, uint32_t* marks)
      : logits_(a.logits + blockIdx.y * a.stride),
        recent_(a.recent + a.row[blockIdx.y].recent_begin),
        recent_count_(a.row[blockIdx.y].recent_count),
        penalty_(a.row[blockIdx.y].repeat_penalty),
        marks_(marks) {}

  // Before reading ids of another part. All threads of the CTA.
  __device__ void enter(const Part& part) {
    part_ = part;
    if (!penalizes()) return;
    __syncthreads();  // nobody reads the marks of the part before any more
    for (int i = threadIdx.x; i < (part.end - part.begin + 31) / 32; i += kSampleThreads)
      marks_[i] = 0;
    __syncthreads();  // all marks are clear
    for (int i = threadIdx.x; i < recent_count_; i += kSampleThreads) {
      const int at = recent_[i] - part.begin;
      if (at >= 0 && at < part.end - part.begin) atomicOr(&marks_[at / 32], 1u << (at % 32));
    }
    __syncthreads();  // all marks are set
  }

  // Calls f(place, id, logit) for up to kOwn consecutive ids from `id` on, `place` their number.
  template <typename F>
  __device__ __forceinline__ void for_own(int id, F&& f) const {
    if (id >= part_.end) return;
    float l[kOwn];
    if (id + kOwn <= part_.end && reinterpret_cast<uintptr_t>(logits_ + id) % 16 == 0) {
      const float4 low = *reinterpret_cast<const float4*>(logits_ + id);
      const float4 high = *reinterpret_cast<const float4*>(logits_ + id + 4);
      l[0] = low.x, l[1] = low.y, l[2] = low.z, l[3] = low.w;
      l[4] = high.x, l[5] = high.y, l[6] = high.z, l[7] = high.w;
    } else {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) l[i] = id + i < part_.end ? logits_[id + i] : 0.0f;
    }
    // A part begins at a multiple of kOwn, so its marks of these ids are in one word.
    const int at = id - part_.begin;
    const uint32_t marked = penalizes() ? marks_[at / 32] >> (at % 32) : 0;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      if (id + i >= part_.end) break;
      float logit = isnan(l[i]) ? -HUGE_VALF : l[i];
      if ((marked >> i & 1u) != 0) logit = penalized_logit(l[i], penalty_);
      f(i, id + i, logit);
    }
  }

 private:
  [[nodiscard]] __device__ bool penalizes() const { return penalty_ != 1.0f && recent_count_ > 0; }

  const float* logits_;
  const int32_t* recent_;
  int recent_count_;
  float penalty_;
  uint32_t* marks_;
  Part part_ = {0, 0};
};

// Sums of a value over the threads of a CTA.
struct CtaSums {
  uint64_t before, total;  // of the threads before this one; of all
};
__device__ __forceinline__ CtaSums sum_over_cta(uint64_t value) {
  __shared__ uint64_t warp_sums[kSampleThreads / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint64_t sum = value;
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint64_t other = __shfl_up_sync(0xffffffffu, sum, distance);
    if (lane >= distance) sum += other;
  }
  __syncthreads();  // the sums of a call before are read
  if (lane == 31) warp_sums[warp] = sum;
  __syncthreads();  // all warps' sums are there
  CtaSums sums = {sum - value, 0};
  for (int w = 0; w < kSampleThreads / 32; ++w) {
    if (w < warp) sums.before += warp_sums[w];
    sums.total += warp_sums[w];
  }
  return sums;
}

__device__ __forceinline__ uint64_t most_of_cta(uint64_t value) {
  __shared__ uint64_t warp_most[kSampleThreads / 32];
  for (int distance = 16; distance > 0; distance /= 2)
    value = max(value, __shfl_xor_sync(0xffffffffu, value, distance));
  __syncthreads();  // the values of a call before are read
  if (threadIdx.x % 32 == 0) warp_most[threadIdx.x / 32] = value;
  __syncthreads();  // all warps' values are there
  for (const uint64_t other : warp_most) value = max(value, other);
  return value;
}

}  // namespace hlwq::cuda
