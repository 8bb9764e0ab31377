#pragma once
// Rows of weights to codes and norms, and back (docs/format.md#encoding, docs/math.md#norms).

#include <cstdint>
#include <span>

#include "base/result.h"
#include "quant/codebook.h"

namespace hlwq {

enum class NormRule {
  kPlain,         // the block's length, as published
  kLeastSquares,  // n * <z, c> / <c, c>: the least error for the codes chosen at scale 1
  kSearch,  // codes and norm of least error over 15 trial scales of the block, each least squares
};

// Sums over the original and decoded weights; add them up, then ask for figures.
struct Distortion {
  double ww = 0, dd = 0, wd = 0;  // sum w*w, d*d, w*d
  int64_t count = 0;
  void add(const Distortion& o) {
    ww += o.ww;
    dd += o.dd;
    wd += o.wd;
    count += o.count;
  }
  [[nodiscard]] double cosine() const;  // 1 when both are all zero
  [[nodiscard]] double snr_db() const;  // 10 log10(sum w^2 / sum (w-d)^2); +inf when equal
};

// Encodes n rows of `cols` FP32 weights (row-major, dense). codes [n, blocks*128], norms FP16 bits
// [n, blocks]. The distortion uses the decoded values with the rounded norms.
// Errors: kBadValue for NaN or infinite weights ("row r, column c") and for norms that FP16 cannot
// hold (>= 65520). Cost: O(n*cols); vectorized with AVX2/AVX-512 where the processor has them, with
// the same codes and norms in every bit.
[[nodiscard]] Result<Distortion> encode_rows(std::span<const float> weights, int64_t cols,
                                             std::span<const float> levels, NormRule rule,
                                             std::span<uint8_t> codes, std::span<uint16_t> norms);

// Decodes n rows: out [n, cols] dense. codes < levels.size().
void decode_rows(std::span<const uint8_t> codes, std::span<const uint16_t> norms, int64_t cols,
                 std::span<const float> levels, std::span<float> out);

}  // namespace hlwq
