// BlockKernels::add_product against sums in double, and every version against the scalar one.

#include <gtest/gtest.h>

#include <cmath>

#include "quant/block_dispatch.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

struct Shape {
  int64_t rows, columns, terms;
};

class Product : public testing::TestWithParam<Shape> {};

TEST_P(Product, IsTheSumOfProductsWithTheSameBitsEverywhere) {
  const auto [rows, columns, terms] = GetParam();
  const int64_t a_stride = rows + 3, b_stride = columns + 5, c_stride = columns + 7;
  const auto a = normal_values(static_cast<size_t>(terms * a_stride), 1.0, 1);
  const auto b = normal_values(static_cast<size_t>(terms * b_stride), 1.0, 2);
  const auto before = normal_values(static_cast<size_t>(rows * c_stride), 1.0, 3);
  std::vector<float> scalar;
  for (const BlockKernels* kernels : usable_block_kernels()) {
    std::vector<float> c = before;
    kernels->add_product({.rows = rows,
                          .columns = columns,
                          .terms = terms,
                          .sign = -1.0f,
                          .a = a.data(),
                          .a_stride = a_stride,
                          .b = b.data(),
                          .b_stride = b_stride,
                          .c = c.data(),
                          .c_stride = c_stride});
    if (scalar.empty()) {
      scalar = c;
    } else {
      EXPECT_EQ(c, scalar) << kernels->name;
    }
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < c_stride; ++j) {
        const auto at = static_cast<size_t>(i * c_stride + j);
        if (j >= columns) {
          EXPECT_EQ(c[at], before[at]) << "outside the result";
          continue;
        }
        double sum = 0, magnitude = std::fabs(before[at]);
        for (int64_t t = 0; t < terms; ++t) {
          const double product = static_cast<double>(a[static_cast<size_t>(t * a_stride + i)]) *
                                 b[static_cast<size_t>(t * b_stride + j)];
          sum += product;
          magnitude += std::fabs(product);
        }
        // One rounding a term and one a chunk of 256.
        const double bound =
            0x1p-24 * magnitude * (static_cast<double>(std::min<int64_t>(terms, 256)) + 4);
        EXPECT_NEAR(c[at], before[at] - sum, bound) << kernels->name << " " << i << "," << j;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Product,
                         testing::Values(Shape{1, 1, 1}, Shape{12, 32, 256}, Shape{13, 33, 257},
                                         Shape{97, 300, 520}, Shape{4, 16, 0},
                                         Shape{100, 128, 64}));

}  // namespace
}  // namespace hlwq
