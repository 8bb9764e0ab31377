#pragma once
// The unnormalized 128-point Walsh-Hadamard butterfly, natural order. H = butterfly / sqrt(128) is
// orthonormal, symmetric and its own inverse. The order of operations is part of D1: strides 1, 2,
// ..., 64, each (a + b, a - b); vector versions must do the same additions.

#include "base/host_device.h"
#include "quant/block.h"

namespace hlwq {

template <typename T>
HLWQ_HD inline void butterfly128(T* x) {
  for (int stride = 1; stride < kBlock; stride *= 2) {
    for (int base = 0; base < kBlock; base += 2 * stride) {
      for (int i = base; i < base + stride; ++i) {
        const T a = x[i], b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
      }
    }
  }
}

}  // namespace hlwq
