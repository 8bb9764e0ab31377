#pragma once
// The unnormalized Walsh-Hadamard butterfly, natural order, of 128 points for blocks of weights and
// of a head's elements for keys and values. H = butterfly / sqrt(points) is orthonormal, symmetric
// and its own inverse. The order of operations is part of D1: strides 1, 2, ..., points / 2, each
// (a + b, a - b); vector versions must do the same additions.

#include "base/host_device.h"
#include "quant/block.h"

namespace hlwq {

// `points` is a power of two.
template <typename T>
HLWQ_HD inline void butterfly(T* x, int points) {
  for (int stride = 1; stride < points; stride *= 2) {
    for (int base = 0; base < points; base += 2 * stride) {
      for (int i = base; i < base + stride; ++i) {
        const T a = x[i], b = x[i + stride];
        x[i] = a + b;
        x[i + stride] = a - b;
      }
    }
  }
}

template <typename T>
HLWQ_HD inline void butterfly128(T* x) {
  butterfly(x, kBlock);
}

}  // namespace hlwq
