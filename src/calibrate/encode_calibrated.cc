#include "calibrate/encode_calibrated.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "calibrate/rotate_rows.h"
#include "quant/block_dispatch.h"
#include "quant/search_scales.h"

namespace hlwq {
namespace {

constexpr uint16_t kHalfInfinity = 0x7c00;
constexpr float kRoot = 11.313708498984761f;  // sqrt(128)

// What one block's choice works on, weight k of row l at [16 k + l].
struct BlockRows {
  alignas(64) float weights[kBlock * kFeedbackRows];
  alignas(64) float target[kBlock * kFeedbackRows];
  alignas(64) uint8_t codes[kBlock * kFeedbackRows];
  alignas(64) float scales[kFeedbackRows];
};

Status check_finite(std::span<const float> weights, int64_t cols) {
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights[i]))
      return fail(ErrorCode::kBadValue,
                  fmt::format("row {}, column {}: weight is {}", static_cast<int64_t>(i) / cols,
                              static_cast<int64_t>(i) % cols, weights[i]));
  }
  return {};
}

void add_row(const float* w, const float* d, int64_t cols, Distortion& sum) {
  for (int64_t i = 0; i < cols; ++i) {
    const double a = w[i], b = d[i];
    sum.ww += a * a;
    sum.wd += a * b;
    sum.dd += b * b;
  }
  sum.count += cols;
}

}  // namespace

Result<Distortion> encode_rows_calibrated(std::span<const float> weights, const Feedback& feedback,
                                          std::span<const float> levels, std::span<uint8_t> codes,
                                          std::span<uint16_t> norms) {
  const int64_t cols = feedback.cols, blocks = feedback.blocks, padded = blocks * kBlock;
  HLWQ_CHECK(static_cast<int64_t>(weights.size()) % cols == 0);
  const int64_t rows = static_cast<int64_t>(weights.size()) / cols;
  HLWQ_CHECK(static_cast<int64_t>(codes.size()) == rows * padded);
  HLWQ_CHECK(static_cast<int64_t>(norms.size()) == rows * blocks);
  HLWQ_TRY(check_finite(weights, cols));

  const BlockKernels& kernels = *usable_block_kernels().back();
  const auto table = std::make_unique<NearestTable>();
  build_nearest_table(levels, table.get());
  const SearchScales scales(levels.size());

  std::vector<float> rotated(static_cast<size_t>(rows * padded));
  for (int64_t r = 0; r < rows; ++r)
    rotate_row(weights.data() + r * cols, cols, rotated.data() + r * padded);
  // Errors in the order of choice, [padded, rows]; what they move a block by, [rows, 128].
  std::vector<float> errors(static_cast<size_t>(rows * padded));
  std::vector<float> owed(static_cast<size_t>(rows * kBlock));
  const auto local = std::make_unique<BlockRows>();
  std::vector<float> corner(static_cast<size_t>(kBlock) * kBlock);

  for (int64_t step = 0; step < blocks; ++step) {
    const int64_t block = feedback.order[static_cast<size_t>(step)], first = step * kBlock;
    const float* const upper = feedback.upper.data();
    std::fill(owed.begin(), owed.end(), 0.0f);
    kernels.add_product({.rows = rows,
                         .columns = kBlock,
                         .terms = first,
                         .sign = 1.0f,
                         .a = errors.data(),
                         .a_stride = rows,
                         .b = upper + first,
                         .b_stride = padded,
                         .c = owed.data(),
                         .c_stride = kBlock});
    for (int k = 0; k < kBlock; ++k)
      std::copy_n(upper + (first + k) * padded + first, kBlock, corner.data() + k * kBlock);
    for (int64_t r0 = 0; r0 < rows; r0 += kFeedbackRows) {
      for (int l = 0; l < kFeedbackRows; ++l) {
        const int64_t r = std::min<int64_t>(r0 + l, rows - 1);  // the last row fills up
        const float* const w = rotated.data() + r * padded + block * kBlock;
        for (int k = 0; k < kBlock; ++k) {
          local->weights[k * kFeedbackRows + l] = w[k];
          local->target[k * kFeedbackRows + l] = w[k] + owed[static_cast<size_t>(r * kBlock + k)];
        }
      }
      kernels.encode_feedback(*table, scales.trials(),
                              {.feedback = corner.data(),
                               .penalty = feedback.penalty.data() + first,
                               .weights = local->weights,
                               .target = local->target},
                              local->codes, local->scales);
      for (int l = 0; l < kFeedbackRows && r0 + l < rows; ++l) {
        const int64_t r = r0 + l;
        const uint16_t norm = f32_to_f16(local->scales[l] * kRoot);
        if (norm >= kHalfInfinity)
          return fail(ErrorCode::kBadValue,
                      fmt::format("row {}, column {}: the block's norm does not fit FP16", r,
                                  block * kBlock));
        norms[static_cast<size_t>(r * blocks + block)] = norm;
        const float scale = f16_to_f32(norm) / kRoot;
        const float* const w = rotated.data() + r * padded + block * kBlock;
        float* const error = errors.data() + first * rows + r;
        uint8_t* const out = codes.data() + r * padded + block * kBlock;
        for (int k = 0; k < kBlock; ++k) {
          const uint8_t code = local->codes[k * kFeedbackRows + l];
          out[k] = code;
          error[k * rows] = w[k] - scale * levels[code];
        }
      }
    }
  }

  Distortion sum;
  std::vector<float> decoded(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    decode_rows(codes.subspan(static_cast<size_t>(r * padded), static_cast<size_t>(padded)),
                norms.subspan(static_cast<size_t>(r * blocks), static_cast<size_t>(blocks)), cols,
                levels, decoded);
    add_row(weights.data() + r * cols, decoded.data(), cols, sum);
  }
  return sum;
}

}  // namespace hlwq
