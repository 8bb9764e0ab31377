#pragma once
// Waiting for the host in the middle of a kernel.

#include <cstdint>

namespace hlwq::cuda {

// Until the host has answered question `number` (ops/expert_mail.h); what it wrote before that is
// visible to the calling thread.
__device__ __forceinline__ void wait_for_answer(const uint64_t* answered, uint64_t number) {
  while (true) {
    uint64_t last = 0;
    asm volatile("ld.acquire.sys.u64 %0, [%1];" : "=l"(last) : "l"(answered) : "memory");
    if (last >= number) return;
    __nanosleep(100);
  }
}

}  // namespace hlwq::cuda
