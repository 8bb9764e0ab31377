#include "calibrate/moments.h"

#include <gtest/gtest.h>

#include <cmath>

#include "calibrate/rotate_rows.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

TEST(Moments, AreSumsOfRotatedProducts) {
  constexpr int64_t kTokens = 37, kCols = 300, kPadded = 384;
  const auto x = normal_values(kTokens * kCols, 1.0, 3);
  ThreadPool pool(2);
  Moments moments(kCols);
  // In two calls, the second with rows of a wider matrix.
  moments.add(dense(x.data(), 20, kCols), pool);
  std::vector<float> wide(17 * (kCols + 9), NAN);
  for (int64_t r = 0; r < 17; ++r)
    std::copy_n(x.data() + (20 + r) * kCols, kCols, wide.data() + r * (kCols + 9));
  moments.add({wide.data(), 17, kCols, kCols + 9}, pool);
  EXPECT_EQ(moments.tokens(), kTokens);
  ASSERT_EQ(moments.padded(), kPadded);

  std::vector<float> z(kTokens * kPadded);
  for (int64_t r = 0; r < kTokens; ++r)
    rotate_row(x.data() + r * kCols, kCols, z.data() + r * kPadded);
  for (int64_t i = 0; i < kPadded; ++i) {
    for (int64_t j = i; j < kPadded; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t r = 0; r < kTokens; ++r) {
        const double product = static_cast<double>(z[static_cast<size_t>(r * kPadded + i)]) *
                               z[static_cast<size_t>(r * kPadded + j)];
        sum += product;
        magnitude += std::fabs(product);
      }
      EXPECT_NEAR(moments.sums()[static_cast<size_t>(i * kPadded + j)], sum,
                  0x1p-24 * (kTokens + 4) * magnitude);
    }
  }
}

TEST(Moments, RotationIsOrthonormal) {
  constexpr int64_t kCols = 200;
  const auto x = normal_values(kCols, 1.0, 4);
  std::vector<float> z(256, NAN), again(256, NAN);
  rotate_row(x.data(), kCols, z.data());
  rotate_row(z.data(), 256, again.data());  // its own inverse
  for (int64_t i = 0; i < 256; ++i)
    EXPECT_NEAR(again[static_cast<size_t>(i)], i < kCols ? x[static_cast<size_t>(i)] : 0.0f, 2e-6);
}

}  // namespace
}  // namespace hlwq
