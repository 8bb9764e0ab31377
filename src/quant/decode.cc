#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/float16.h"
#include "quant/block_dispatch.h"
#include "quant/encode.h"

namespace hlwq {

void decode_rows_on(const BlockKernels& kernels, std::span<const uint8_t> codes,
                    std::span<const uint16_t> norms, int64_t cols, std::span<const float> levels,
                    std::span<float> out) {
  HLWQ_CHECK(cols > 0 && static_cast<int64_t>(out.size()) % cols == 0);
  const int64_t rows = static_cast<int64_t>(out.size()) / cols;
  const int64_t blocks = blocks_of(cols);
  HLWQ_CHECK(static_cast<int64_t>(codes.size()) == rows * blocks * kBlock);
  HLWQ_CHECK(static_cast<int64_t>(norms.size()) == rows * blocks);
  HLWQ_CHECK(levels.size() <= static_cast<size_t>(kMaxLevels));
  std::array<float, kMaxLevels> level{};
  std::copy(levels.begin(), levels.end(), level.begin());

  constexpr int64_t kBatchBlocks = 64;
  std::array<float, kBatchBlocks> scales;
  const int64_t whole = cols / kBlock;
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* const row_codes = codes.data() + r * blocks * kBlock;
    const uint16_t* const row_norms = norms.data() + r * blocks;
    float* const row_out = out.data() + r * cols;
    for (int64_t b = 0; b < whole; b += kBatchBlocks) {
      const int64_t count = std::min(kBatchBlocks, whole - b);
      // Dividing a half by 128 is exact in FP32.
      for (int64_t i = 0; i < count; ++i)
        scales[static_cast<size_t>(i)] = f16_to_f32(row_norms[b + i]) / kBlock;
      kernels.decode(level.data(), row_codes + b * kBlock, scales.data(), count,
                     row_out + b * kBlock);
    }
    if (whole == blocks) continue;
    std::array<float, kBlock> last;
    const float scale = f16_to_f32(row_norms[whole]) / kBlock;
    kernels.decode(level.data(), row_codes + whole * kBlock, &scale, 1, last.data());
    std::copy_n(last.begin(), cols - whole * kBlock, row_out + whole * kBlock);
  }
}

void decode_rows(std::span<const uint8_t> codes, std::span<const uint16_t> norms, int64_t cols,
                 std::span<const float> levels, std::span<float> out) {
  decode_rows_on(*usable_block_kernels().back(), codes, norms, cols, levels, out);
}

}  // namespace hlwq
