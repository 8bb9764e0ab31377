#pragma once
// Which block kernels run, and encode_rows and decode_rows on given ones (for tests and benchmarks,
// which compare the versions).

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "quant/block_kernel.h"
#include "quant/encode.h"

namespace hlwq {

// levels: strictly ascending, 2..256 of them.
void build_nearest_table(std::span<const float> levels, NearestTable* table);

// Those that this processor runs, slowest (scalar) first, fastest last.
[[nodiscard]] const std::vector<const BlockKernels*>& usable_block_kernels();

[[nodiscard]] Result<Distortion> encode_rows_on(const BlockKernels& kernels,
                                                std::span<const float> weights, int64_t cols,
                                                std::span<const float> levels, NormRule rule,
                                                std::span<uint8_t> codes,
                                                std::span<uint16_t> norms);
// The same with trial scales of the caller's choice; `plain_norm` stores the block's length.
[[nodiscard]] Result<Distortion> encode_rows_trials(const BlockKernels& kernels,
                                                    std::span<const float> weights, int64_t cols,
                                                    std::span<const float> levels,
                                                    const TrialScales& trials, bool plain_norm,
                                                    std::span<uint8_t> codes,
                                                    std::span<uint16_t> norms);
void decode_rows_on(const BlockKernels& kernels, std::span<const uint8_t> codes,
                    std::span<const uint16_t> norms, int64_t cols, std::span<const float> levels,
                    std::span<float> out);

}  // namespace hlwq
