#pragma once

#include <cstdint>

namespace hlwq::cuda {

// One thread of each of `arrivals` parts of a launch calls it; true in the last to do so, which
// then sees (loading from L2) what the others wrote before they called. The counter is zero before
// the first call and after the last.
__device__ __forceinline__ bool arrives_last(uint32_t* counter, uint32_t arrivals) {
  uint32_t before;  // incremented, but from arrivals - 1 back to 0
  asm volatile("atom.acq_rel.gpu.inc.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(counter), "r"(arrivals - 1)
               : "memory");
  return before == arrivals - 1;
}

}  // namespace hlwq::cuda
