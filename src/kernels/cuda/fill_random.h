#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace hlwq::cuda {

// 64-bit word i of `to` becomes (random_bits(seed, i) & keep) | set; the last word may be cut.
// `to` is at a multiple of 8 bytes.
void fill_random(std::byte* to, size_t bytes, uint64_t seed, uint64_t keep, uint64_t set,
                 cudaStream_t stream);

}  // namespace hlwq::cuda
