#pragma once
// Cholesky factorization in FP32, blocked, with the same bits on every processor.

#include <cstdint>

namespace hlwq {

// A = Rᵀ R in place: the upper triangle of the row-major symmetric matrix a [n, n] becomes R, upper
// triangular; what is below the diagonal is neither read nor meaningful afterwards. False when A is
// not positive definite to working precision.
[[nodiscard]] bool cholesky_upper(float* a, int64_t n);

}  // namespace hlwq
