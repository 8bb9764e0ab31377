#include "quant/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>

#include "base/check.h"
#include "base/float16.h"
#include "quant/block_dispatch.h"
#include "quant/search_scales.h"

namespace hlwq {
namespace {

constexpr int64_t kBatchBlocks = 64;  // blocks a kernel call, which loads the tables once

constexpr uint16_t kHalfInfinity = 0x7c00;

// Why a block was refused. `row`, `col`: of its first weight.
Error refuse_block(std::span<const float> block, int64_t row, int64_t col, float norm) {
  for (size_t i = 0; i < block.size(); ++i) {
    if (!std::isfinite(block[i]))
      return {ErrorCode::kBadValue, fmt::format("row {}, column {}: weight is {}", row,
                                                col + static_cast<int64_t>(i), block[i])};
  }
  return {ErrorCode::kBadValue,
          fmt::format("row {}, column {}: the block's norm {:.6g} does not fit FP16 (below 65520)",
                      row, col, norm)};
}

class RowEncoder {
 public:
  RowEncoder(const BlockKernels& kernels, std::span<const float> levels, const TrialScales& trials,
             bool plain_norm)
      : kernels_(kernels),
        table_(std::make_unique<NearestTable>()),
        trials_(trials),
        plain_norm_(plain_norm) {
    build_nearest_table(levels, table_.get());
  }

  // One row: weights [cols] to codes [blocks*128] and norms [blocks].
  Status encode(std::span<const float> weights, int64_t row, uint8_t* codes, uint16_t* norms) {
    const auto cols = static_cast<int64_t>(weights.size());
    const int64_t whole = cols / kBlock;
    std::array<BlockSums, kBatchBlocks> sums;
    for (int64_t b = 0; b < whole; b += kBatchBlocks) {
      const int64_t count = std::min(kBatchBlocks, whole - b);
      kernels_.encode(*table_, trials_, weights.data() + b * kBlock, count, codes + b * kBlock,
                      sums.data());
      for (int64_t i = 0; i < count; ++i) {
        const BlockSums& s = sums[static_cast<size_t>(i)];
        if (!store_norm(s, &norms[b + i]))
          return tl::unexpected(refuse_block(weights.subspan((b + i) * kBlock, kBlock), row,
                                             (b + i) * kBlock, norm_of(s)));
        count_whole(s, norms[b + i]);
      }
    }
    if (whole * kBlock == cols) return {};
    const std::span<const float> rest = weights.subspan(static_cast<size_t>(whole * kBlock));
    std::array<float, kBlock> padded{};
    std::copy(rest.begin(), rest.end(), padded.begin());
    uint8_t* const rest_codes = codes + whole * kBlock;
    kernels_.encode(*table_, trials_, padded.data(), 1, rest_codes, sums.data());
    if (!store_norm(sums[0], &norms[whole]))
      return tl::unexpected(refuse_block(rest, row, whole * kBlock, norm_of(sums[0])));
    count_padded(rest, rest_codes, norms[whole]);
    return {};
  }

  [[nodiscard]] const Distortion& distortion() const { return distortion_; }

 private:
  [[nodiscard]] float norm_of(const BlockSums& s) const {
    if (plain_norm_ || !(s.zc > 0)) return s.norm;
    return s.norm * (s.zc / s.cc);
  }

  // False for a block that must be refused.
  bool store_norm(const BlockSums& s, uint16_t* norm) const {
    *norm = f32_to_f16(norm_of(s));
    return s.ww <= std::numeric_limits<float>::max() && *norm < kHalfInfinity;
  }

  // d = norm/sqrt(128) * c in the rotated space, where lengths and products are those of w.
  void count_whole(const BlockSums& s, uint16_t norm_bits) {
    const double norm = f16_to_f32(norm_bits);
    distortion_.ww += s.ww;
    distortion_.wd += static_cast<double>(s.norm) * norm * s.zc / kBlock;
    distortion_.dd += norm * norm * s.cc / kBlock;
    distortion_.count += kBlock;
  }

  // The decoded padding is thrown away, so it does not count.
  void count_padded(std::span<const float> weights, const uint8_t* codes, uint16_t norm_bits) {
    std::array<float, kBlock> decoded;
    const float norm = f16_to_f32(norm_bits) / kBlock;
    kernels_.decode(table_->level, codes, &norm, 1, decoded.data());
    for (size_t i = 0; i < weights.size(); ++i) {
      const double w = weights[i], d = decoded[i];
      distortion_.ww += w * w;
      distortion_.wd += w * d;
      distortion_.dd += d * d;
    }
    distortion_.count += static_cast<int64_t>(weights.size());
  }

  const BlockKernels& kernels_;
  std::unique_ptr<NearestTable> table_;
  TrialScales trials_;
  bool plain_norm_;
  Distortion distortion_;
};

}  // namespace

Result<Distortion> encode_rows_trials(const BlockKernels& kernels, std::span<const float> weights,
                                      int64_t cols, std::span<const float> levels,
                                      const TrialScales& trials, bool plain_norm,
                                      std::span<uint8_t> codes, std::span<uint16_t> norms) {
  HLWQ_CHECK(cols > 0 && static_cast<int64_t>(weights.size()) % cols == 0);
  const int64_t rows = static_cast<int64_t>(weights.size()) / cols;
  const int64_t blocks = blocks_of(cols);
  HLWQ_CHECK(static_cast<int64_t>(codes.size()) == rows * blocks * kBlock);
  HLWQ_CHECK(static_cast<int64_t>(norms.size()) == rows * blocks);
  RowEncoder encoder(kernels, levels, trials, plain_norm);
  for (int64_t r = 0; r < rows; ++r) {
    HLWQ_TRY(
        encoder.encode(weights.subspan(static_cast<size_t>(r * cols), static_cast<size_t>(cols)), r,
                       codes.data() + r * blocks * kBlock, norms.data() + r * blocks));
  }
  return encoder.distortion();
}

Result<Distortion> encode_rows_on(const BlockKernels& kernels, std::span<const float> weights,
                                  int64_t cols, std::span<const float> levels, NormRule rule,
                                  std::span<uint8_t> codes, std::span<uint16_t> norms) {
  const bool search = rule == NormRule::kSearch;
  const SearchScales scales(levels.size());
  return encode_rows_trials(kernels, weights, cols, levels,
                            search ? scales.trials() : TrialScales{nullptr, 0, 0},
                            rule == NormRule::kPlain, codes, norms);
}

Result<Distortion> encode_rows(std::span<const float> weights, int64_t cols,
                               std::span<const float> levels, NormRule rule,
                               std::span<uint8_t> codes, std::span<uint16_t> norms) {
  return encode_rows_on(*usable_block_kernels().back(), weights, cols, levels, rule, codes, norms);
}

}  // namespace hlwq
