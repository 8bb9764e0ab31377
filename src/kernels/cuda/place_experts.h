#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/device_limits.h"
#include "ops/expert_cache.h"

namespace hlwq::cuda {

// place_experts_on_host on the device: the choice of slots, the order of copies, the table. The
// cache's pointers are to memory of the device. experts <= kMostPlacedExperts, slots <= kMostSlots.
inline constexpr int64_t kMostPlacedExperts = 2048;
void place_experts(const ExpertCache& cache, int64_t layer, const int32_t* ids, int64_t choices,
                   ExpertAddress* table, const DeviceLimits& device, cudaStream_t stream);

// Makes the copies that place_experts ordered, on so many multiprocessors: first the up matrices of
// all, then the down matrices, and says in cache.ready when each have arrived. The kernel launched
// next may start before.
inline constexpr int kFetchCtas = 8;
void fetch_experts(const ExpertCache& cache, int64_t layer, cudaStream_t stream);

}  // namespace hlwq::cuda
