#pragma once
// The constants of the format and of the canonical arithmetic.

#include <cstdint>

namespace hlwq {

inline constexpr int kBlock = 128;      // weights that share a rotation and a norm
inline constexpr int kChunkBlocks = 4;  // blocks whose FP32 sums are added by consecutive fma (D1)

// Blocks of a row of `cols` weights; the last one is zero-padded.
constexpr int64_t blocks_of(int64_t cols) { return (cols + kBlock - 1) / kBlock; }

}  // namespace hlwq
