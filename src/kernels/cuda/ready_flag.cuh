#pragma once
// Flags by which a kernel tells those after it that part of its work is done, while it goes on.

#include <cstdint>

namespace hlwq::cuda {

// What the calling thread has seen and written is visible to whoever waits.
__device__ __forceinline__ void set_ready(uint32_t* flag) {
  asm volatile("st.release.gpu.u32 [%0], 1;" ::"l"(flag) : "memory");
}

__device__ __forceinline__ void wait_for_flag(const uint32_t* flag) {
  while (true) {
    uint32_t value = 0;
    asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    if (value != 0) return;
    __nanosleep(40);
  }
}

// All threads of the CTA call it. The writer must be running or done: it waits for ever else.
__device__ __forceinline__ void wait_until_ready(const uint32_t* flag) {
  if (threadIdx.x == 0) wait_for_flag(flag);
  __syncthreads();  // what thread 0 sees now, all see
}

// The same for a warp.
__device__ __forceinline__ void wait_until_ready_for_warp(const uint32_t* flag) {
  if (threadIdx.x % 32 == 0) wait_for_flag(flag);
  __syncwarp();  // what its first lane sees now, all see
}

}  // namespace hlwq::cuda
