#pragma once
// Activations of the integer product (D1): each block of 128 is rotated by the unnormalized
// butterfly and rounded to int8 with its own scale. Pinned, so that every device gives these bits:
//   m = max |z|;  m < 1e-30: sx = 0, xq = 0;  else sx = m / 127 (IEEE division),
//   xq = round-half-even(z / sx);  a non-finite m is an error.

#include <cmath>
#include <cstdint>

#include "base/host_device.h"
#include "quant/hadamard.h"

namespace hlwq {

inline constexpr float kTinyActivation = 1e-30f;

struct BlockScale {
  float sx;     // 0 for a block of (nearly) zeros
  int32_t sum;  // sum of xq
  bool finite;  // false: the step must fail; sx and xq are then 0
};

// Rotates z[128] in place and writes xq[128].
HLWQ_HD inline BlockScale rotate_quantize_block(float* z, int8_t* xq) {
  butterfly128(z);
  float m = 0;
  bool finite = true;
  for (int i = 0; i < kBlock; ++i) {
    const float a = fabsf(z[i]);
    finite = finite && a <= 3.402823466e38f;  // false for NaN and infinity
    m = a > m ? a : m;
  }
  if (!finite || m < kTinyActivation) {
    for (int i = 0; i < kBlock; ++i) xq[i] = 0;
    return {0.0f, 0, finite};
  }
  const float sx = m / 127.0f;
  int32_t sum = 0;
  for (int i = 0; i < kBlock; ++i) {
    const int32_t q = static_cast<int32_t>(rintf(z[i] / sx));
    xq[i] = static_cast<int8_t>(q);
    sum += q;
  }
  return {sx, sum, true};
}

}  // namespace hlwq
