#pragma once

#include <cstdint>

namespace hlwq::cuda {

// Asks for the line around `address` to be brought into L2. L2 is where all multiprocessors agree,
// so this is allowed before wait_for_inputs on memory that another kernel still writes.
__device__ __forceinline__ void prefetch_l2(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

// The lines of `bytes` from `first` on, shared out among the CTA's threads.
__device__ __forceinline__ void prefetch_l2(const void* first, int64_t bytes) {
  constexpr int kLine = 128;
  const char* const start = static_cast<const char*>(first);
  for (int64_t at = static_cast<int64_t>(threadIdx.x) * kLine; at < bytes;
       at += static_cast<int64_t>(blockDim.x) * kLine)
    prefetch_l2(start + at);
}

}  // namespace hlwq::cuda
