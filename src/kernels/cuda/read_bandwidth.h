#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace hlwq::cuda {

// Bytes that read_all reads in one piece; what is left over after whole pieces is not read.
inline constexpr size_t kReadPieceBytes = size_t{32} << 10;
// Words of `sums` for a launch of `blocks` blocks: one a warp.
[[nodiscard]] constexpr int64_t read_sum_words(int64_t blocks) { return blocks * 8; }

// Reads `bytes` from `data` (16-byte aligned) and leaves the xor of each warp's 32-bit words in
// `sums`, so that no load can be left out.
void read_all(const std::byte* data, size_t bytes, uint32_t* sums, int blocks, cudaStream_t stream);

}  // namespace hlwq::cuda
