// Products with plain matrices and embedding rows of both kinds.

#include <cmath>

#include "base/float16.h"
#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using PlainProduct = BackendTest;
using Embedding = BackendTest;

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

std::vector<float> run(Backend& backend, const PlainMatrix& w, const MutF32View& x) {
  const Rows y(x.rows, w.rows);
  const Projection projection{.weight = w.matrix(), .y = y.view()};
  backend.project({.x = {x, {}}, .projections = {&projection, 1}});
  EXPECT_TRUE(y.gaps_untouched());
  return y.values();
}

TEST_P(PlainProduct, MatchesFp64) {
  Random random(201);
  struct Shape {
    int64_t rows, cols;
  };
  for (const Shape shape : {Shape{1, 1}, {3, 7}, {8, 64}, {17, 129}, {130, 256}, {40, 2688}}) {
    for (const DType dtype : kDTypes) {
      const PlainMatrix w = random_plain(random, dtype, shape.rows, shape.cols);
      const auto backend = make({.tokens = 33, .width = shape.cols});
      for (const int64_t tokens : {1, 2, 7, 33}) {
        SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.cols << " "
                                        << name_of(dtype) << ", " << tokens);
        const std::vector<float> x = random.normals(tokens * shape.cols);
        const Rows rows(tokens, shape.cols, x);
        // FP32 sums of up to 2688 terms: relative error near 2^-24 * sqrt(2688).
        EXPECT_LT(nmse(product(x, w.values, shape.cols), run(*backend, w, rows.view())), 1e-10);
      }
    }
  }
}

// An output's bits depend on its row of weights and its row of x alone: not on the other tokens,
// the other matrices of the call or where rows start.
TEST_P(PlainProduct, OutputsDoNotSeeEachOther) {
  Random random(202);
  struct Case {
    int64_t cols;
    std::vector<int64_t> rows;  // of the matrices of one call
  };
  for (const Case& c : {Case{1, {5}},
                        {124, {13, 37, 1}},
                        {333, {13, 37, 1}},
                        {2688, {40, 3}},
                        {32, {2100}},
                        {1153, {1, 2, 1, 3, 1}}}) {
    for (const DType dtype : kDTypes) {
      if (slow() && c.cols == 2688) continue;
      SCOPED_TRACE(testing::Message() << name_of(dtype) << ", " << c.cols << " columns");
      std::vector<PlainMatrix> matrices;
      for (const int64_t rows : c.rows)
        matrices.push_back(random_plain(random, dtype, rows, c.cols));
      const auto backend = make({.tokens = kLargestBatch, .width = c.cols});
      const std::vector<float> values = random.normals(kLargestBatch * c.cols);
      std::vector<std::vector<float>> want(matrices.size());  // from one token and matrix at a time
      const Rows first_x(kLargestBatch, c.cols, values);
      for (size_t i = 0; i < matrices.size(); ++i) {
        for (int64_t t = 0; t < kLargestBatch; ++t) {
          const std::vector<float> one = run(*backend, matrices[i], first_x.row_view(t));
          want[i].insert(want[i].end(), one.begin(), one.end());
        }
      }
      for (const RowStart start : kRowStarts) {
        const Rows x(kLargestBatch, c.cols, values, start);
        for (const int64_t tokens : kBatches) {
          const int64_t first = kLargestBatch - tokens;
          std::vector<Rows> y;
          std::vector<Projection> projections;
          for (const PlainMatrix& w : matrices) {
            y.emplace_back(tokens, w.rows);
            projections.push_back({.weight = w.matrix(), .y = y.back().view()});
          }
          backend->project({.x = {x.part(first, tokens), {}}, .projections = projections});
          for (size_t i = 0; i < matrices.size(); ++i) {
            EXPECT_TRUE(
                same_bits(std::span(want[i]).subspan(static_cast<size_t>(first * matrices[i].rows)),
                          y[i].values()))
                << tokens << " tokens, " << matrices[i].rows << " rows";
            EXPECT_TRUE(y[i].gaps_untouched());
          }
        }
      }
    }
  }
}

TEST_P(PlainProduct, BiasAndAccumulate) {
  Random random(203);
  const PlainMatrix w = random_plain(random, DType::kBF16, 19, 100);
  const Rows x(4, 100, random.normals(400));
  const auto backend = make({.tokens = 4, .width = 100});
  const std::vector<float> product_only = run(*backend, w, x.view());
  const std::vector<float> old = random.normals(4 * 19), bias = random.normals(19);
  const Array<float> bias_array(bias);
  const Rows y(4, 19, old);
  const Projection projection{
      .weight = w.matrix(), .bias = bias_array.data(), .y = y.view(), .accumulate = true};
  backend->project({.x = {x.view(), {}}, .projections = {&projection, 1}});
  std::vector<float> want;
  for (size_t i = 0; i < old.size(); ++i) want.push_back(old[i] + (product_only[i] + bias[i % 19]));
  EXPECT_TRUE(same_bits(want, y.values()));
}

TEST_P(Embedding, PlainRowsAreCopied) {
  Random random(204);
  const std::vector<int32_t> ids = {0, 49, 7, 7, 23};
  for (const DType dtype : kDTypes) {
    for (const int64_t cols : {131, 132}) {
      for (const RowStart start : kRowStarts) {
        const PlainMatrix table = random_plain(random, dtype, 50, cols);
        const Rows y(5, cols, start);
        make({.tokens = 5, .width = cols})
            ->embed({.ids = ids, .table = table.matrix(), .y = y.view()});
        std::vector<float> want;
        for (const int32_t id : ids) {
          for (int64_t i = 0; i < cols; ++i) {
            want.push_back(static_cast<float>(table.values[static_cast<size_t>(id * cols + i)]));
          }
        }
        EXPECT_TRUE(same_bits(want, y.values())) << name_of(dtype);
        EXPECT_TRUE(y.gaps_untouched());
      }
    }
  }
}

// Coded rows are integers times one rounded factor: (norm * (step/256)) * T. The test's T comes
// from the decoded FP64 weights, which are norm/256 * step * T without rounding of T.
TEST_P(Embedding, CodedRowsAreExactIntegersTimesOneFactor) {
  Random random(205);
  const std::vector<int32_t> ids = {0, 25, 8, 8, 17};
  for (const LevelGrid& grid : {symmetric_grid(5), lopsided_grid(4), wide_grid(8)}) {
    const CodeLayout layout = layout_for(grid);
    for (const int64_t cols : {1, 128, 200, 256}) {
      SCOPED_TRACE(testing::Message() << grid.bits << " bits, " << cols << " columns");
      const CodedMatrix table = random_coded(random, grid, layout, 26, cols);
      const std::vector<double> weights = decoded_weights(table);
      const Rows y(5, cols, cols == 200 ? RowStart::kAligned : RowStart::kAnywhere);
      make({.tokens = 5, .width = cols})
          ->embed({.ids = ids, .table = table.matrix(), .y = y.view()});
      std::vector<float> want;
      for (const int32_t id : ids) {
        for (int64_t i = 0; i < cols; ++i) {
          const auto at = static_cast<size_t>(id * cols + i);
          const auto block = static_cast<size_t>(id * table.blocks() + i / kBlock);
          const float factor = f16_to_f32(table.norms[block]) * (grid.step / 256.0f);
          const double rotated =
              weights[at] /
              (static_cast<double>(f16_to_f32(table.norms[block])) * grid.step / 256.0);
          want.push_back(factor * static_cast<float>(std::round(rotated)));
        }
      }
      EXPECT_TRUE(same_bits(want, y.values()));
      EXPECT_TRUE(y.gaps_untouched());
    }
  }
}

HLWQ_ON_EVERY_BACKEND(PlainProduct);
HLWQ_ON_EVERY_BACKEND(Embedding);

}  // namespace
}  // namespace hlwq::test
