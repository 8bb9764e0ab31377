#include "calibrate/cholesky.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

// Xᵀ X + n I, well conditioned.
std::vector<float> positive_matrix(int64_t n, uint64_t seed) {
  const auto x = normal_values(static_cast<size_t>(2 * n * n), 1.0, seed);
  std::vector<float> a(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = i == j ? static_cast<double>(n) : 0.0;
      for (int64_t t = 0; t < 2 * n; ++t)
        sum += static_cast<double>(x[static_cast<size_t>(t * n + i)]) *
               x[static_cast<size_t>(t * n + j)];
      a[static_cast<size_t>(i * n + j)] = static_cast<float>(sum);
    }
  }
  return a;
}

TEST(Cholesky, FactorsGiveTheMatrixBack) {
  for (const int64_t n : {1, 2, 63, 64, 65, 200}) {
    const std::vector<float> a = positive_matrix(n, static_cast<uint64_t>(n));
    std::vector<float> r = a;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < i; ++j) r[static_cast<size_t>(i * n + j)] = NAN;  // not read
    }
    ASSERT_TRUE(cholesky_upper(r.data(), n)) << n;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i; j < n; ++j) {
        double sum = 0, magnitude = 0;
        for (int64_t t = 0; t <= i; ++t) {
          const double product = static_cast<double>(r[static_cast<size_t>(t * n + i)]) *
                                 r[static_cast<size_t>(t * n + j)];
          sum += product;
          magnitude += std::fabs(product);
        }
        // Higham, Accuracy and Stability, theorem 10.3: (n + 1) units of the magnitudes.
        EXPECT_NEAR(sum, a[static_cast<size_t>(i * n + j)],
                    static_cast<double>(n + 1) * 0x1p-23 * magnitude)
            << n << ": " << i << "," << j;
      }
    }
  }
}

TEST(Cholesky, RefusesWhatIsNotPositive) {
  for (const int64_t n : {3, 100}) {
    std::vector<float> a = positive_matrix(n, 5);
    a[static_cast<size_t>((n - 1) * n + n - 1)] = -1.0f;
    EXPECT_FALSE(cholesky_upper(a.data(), n)) << n;
    a = positive_matrix(n, 5);
    a[1] = NAN;
    EXPECT_FALSE(cholesky_upper(a.data(), n)) << n;
  }
}

}  // namespace
}  // namespace hlwq
