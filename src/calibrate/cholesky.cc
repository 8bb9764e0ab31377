#include "calibrate/cholesky.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "quant/block_dispatch.h"

namespace hlwq {
namespace {

constexpr int64_t kPanel = 64;

// The same for a small matrix, in double.
bool factor_panel(float* a, int64_t stride, int64_t n) {
  for (int64_t k = 0; k < n; ++k) {
    double pivot = a[k * stride + k];
    for (int64_t t = 0; t < k; ++t) {
      const double r = a[t * stride + k];
      pivot -= r * r;
    }
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    const double root = std::sqrt(pivot);
    a[k * stride + k] = static_cast<float>(root);
    for (int64_t j = k + 1; j < n; ++j) {
      double sum = a[k * stride + j];
      for (int64_t t = 0; t < k; ++t)
        sum -= static_cast<double>(a[t * stride + k]) * a[t * stride + j];
      a[k * stride + j] = static_cast<float>(sum / root);
    }
  }
  return true;
}

// inverse [n, n] = R^-1 of an upper triangular R.
void invert_upper(const float* r, int64_t stride, int64_t n, float* inverse) {
  std::fill(inverse, inverse + n * n, 0.0f);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = j; i >= 0; --i) {
      double sum = i == j ? 1.0 : 0.0;
      for (int64_t t = i + 1; t <= j; ++t)
        sum -= static_cast<double>(r[i * stride + t]) * inverse[t * n + j];
      inverse[i * n + j] = static_cast<float>(sum / r[i * stride + i]);
    }
  }
}

}  // namespace

bool cholesky_upper(float* a, int64_t n) {
  const BlockKernels& kernels = *usable_block_kernels().back();
  std::vector<float> inverse(static_cast<size_t>(kPanel * kPanel));
  std::vector<float> right;
  for (int64_t k = 0; k < n; k += kPanel) {
    const int64_t width = std::min(kPanel, n - k), rest = n - k - width;
    float* const corner = a + k * n + k;
    if (!factor_panel(corner, n, width)) return false;
    if (rest == 0) break;
    // R12 = R11^-T A12.
    invert_upper(corner, n, width, inverse.data());
    float* const beside = corner + width;
    right.resize(static_cast<size_t>(width * rest));
    for (int64_t i = 0; i < width; ++i) {
      std::copy_n(beside + i * n, rest, right.data() + i * rest);
      std::fill_n(beside + i * n, rest, 0.0f);
    }
    kernels.add_product({.rows = width,
                         .columns = rest,
                         .terms = width,
                         .sign = 1.0f,
                         .a = inverse.data(),
                         .a_stride = width,
                         .b = right.data(),
                         .b_stride = rest,
                         .c = beside,
                         .c_stride = n});
    // A22 -= R12ᵀ R12, on and above the diagonal.
    for (int64_t j = 0; j < rest; j += kPanel) {
      const int64_t rows = std::min(kPanel, rest - j);
      kernels.add_product({.rows = rows,
                           .columns = rest - j,
                           .terms = width,
                           .sign = -1.0f,
                           .a = beside + j,
                           .a_stride = n,
                           .b = beside + j,
                           .b_stride = n,
                           .c = corner + (width + j) * n + width + j,
                           .c_stride = n});
    }
  }
  return true;
}

}  // namespace hlwq
