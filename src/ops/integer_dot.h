#pragma once
// The pinned arithmetic of coded products (D1), one source for every back end. The integer part
// (dot, T) is exact, so it may be computed in any order; every FP32 step below is one operation
// with one rounding, in this order. docs/math.md#integer-products.
//
//   t    = 2 * sum_i v[code_i] * xq_i + sum_i xq_i                    exact int32
//   s    = sx * g,  g = step / 256                                    one multiplication
//   acc  = fma(norm * s, float(t), acc)                               blocks ascending in a chunk
//   y    = ((0 + chunk_0) + chunk_1) + ...                            chunks of kChunkBlocks blocks
//
// |t| < 2^30.01 even for 16-bit levels: 2 * 128 * 2^15 * 127 + 128 * 127.

#include <cmath>
#include <cstdint>

#include "base/host_device.h"
#include "quant/block.h"
#include "quant/hadamard.h"

namespace hlwq {

// The factor of a table with this step: 1/2 of the half-offset grid times both 1/sqrt(128) of the
// rotations. A division by a power of two, exact.
HLWQ_HD inline float grid_factor(float step) { return step / 256.0f; }

// t of a block from sum v*xq and sum xq.
HLWQ_HD inline int32_t centered_dot(int32_t dot, int32_t xq_sum) { return 2 * dot + xq_sum; }

// One block's term added to its chunk's sum. `norm` is the FP16 norm widened, `scale` is sx * g.
HLWQ_HD inline float add_block(float norm, float scale, int32_t t, float chunk_sum) {
  return fmaf(norm * scale, static_cast<float>(t), chunk_sum);
}

// The sum of a row's blocks in the canonical order. Feed blocks 0, 1, 2, ... and ask for the total.
class CanonicalSum {
 public:
  HLWQ_HD void add(float norm, float scale, int32_t t) {
    chunk_ = add_block(norm, scale, t, chunk_);
    if (++in_chunk_ == kChunkBlocks) {
      total_ += chunk_;
      chunk_ = 0.0f;
      in_chunk_ = 0;
    }
  }
  [[nodiscard]] HLWQ_HD float total() const { return in_chunk_ == 0 ? total_ : total_ + chunk_; }

 private:
  float total_ = 0.0f, chunk_ = 0.0f;
  int in_chunk_ = 0;
};

// A finished product with what is added to it: bias first, then the old output, each one addition.
HLWQ_HD inline float finish_product(float product, const float* bias, const float* old_output) {
  float y = product;
  if (bias != nullptr) y = y + *bias;
  if (old_output != nullptr) y = *old_output + y;
  return y;
}

// relu(h)^2; NaN stays NaN.
HLWQ_HD inline float relu_squared(float h) {
  const float r = h < 0.0f ? 0.0f : h;
  return r * r;
}

// An expert's output joins a token's sum (ascending expert ids, from +0).
HLWQ_HD inline float add_expert(float weight, float y, float sum) { return fmaf(weight, y, sum); }

// One block of a coded row back to weights, exactly the same everywhere. In: odd[i] =
// 2*v[code_i]+1. odd is rotated in place; |T| <= 128 * 65535 < 2^23, so float(T) is exact.
HLWQ_HD inline void decode_block(int32_t* odd, float norm, float factor, float* weights,
                                 int count) {
  butterfly128(odd);
  const float scale = norm * factor;
  for (int i = 0; i < count; ++i) weights[i] = scale * static_cast<float>(odd[i]);
}

}  // namespace hlwq
