// Products with coded matrices: the bits of D1 in int8 compute, FP64 closeness in exact compute.

#include <utility>
#include <vector>

#include "base/float16.h"
#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using CodedProduct = BackendTest;
class IntegerProduct : public BackendTest {};  // where only the integer arithmetic is of interest

struct Shape {
  int64_t rows, cols;
};

ScratchNeeds needs_for(int64_t tokens, int64_t cols) { return {.tokens = tokens, .width = cols}; }

// y = x Wᵀ by the back end, into rows that start as NaN.
std::vector<float> run(Backend& backend, const CodedMatrix& w, const Activation& x) {
  const Rows y(x.x.rows, w.rows);
  const Projection projection{.weight = w.matrix(), .y = y.view()};
  backend.project({.x = x, .projections = {&projection, 1}});
  EXPECT_TRUE(y.gaps_untouched());
  return y.values();
}

// Int8: the test's own D1 sum, bit for bit. Exact: `weights` in FP64, with FP32 sums allowed:
// errors of 2^-24 a step grow like a random walk, relative 1e-6 or NMSE 1e-12 for the widths here.
void expect_product(Backend& backend, const CodedMatrix& w, TestActivation& x) {
  x.quantize();
  if (backend.compute() == Compute::kInt8) {
    EXPECT_TRUE(same_bits(integer_product(w, x), run(backend, w, x.view())));
  } else {
    const std::vector<double> want = product(x.x.values(), decoded_weights(w), w.cols);
    EXPECT_LT(nmse(want, run(backend, w, x.floats())), 1e-10);
  }
  EXPECT_FALSE(backend.take_non_finite());
}

TEST_P(CodedProduct, SmallShapesAllTokenCounts) {
  Random random(101);
  for (const Shape shape :
       {Shape{160, 256}, {8, 128}, {1, 1}, {7, 72}, {9, 129}, {23, 200}, {16, 640}, {33, 1153}}) {
    const CodedMatrix w =
        random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, shape.rows, shape.cols);
    const auto backend = make(needs_for(33, shape.cols));
    for (const int64_t tokens : {1, 2, 7, 33}) {
      SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.cols << ", " << tokens);
      TestActivation x(tokens, shape.cols, random.normals(tokens * shape.cols));
      expect_product(*backend, w, x);
    }
  }
}

TEST_P(IntegerProduct, ModelShapes) {
  if (!integer()) GTEST_SKIP() << "the FP64 product of these shapes is slow; small ones cover it";
  Random random(102);
  for (const auto& [shape, tokens] : {std::pair{Shape{1856, 2688}, 1},
                                      {Shape{2688, 1856}, 9},
                                      {Shape{1288, 256}, 17},
                                      {Shape{256, 160}, 40},
                                      {Shape{8192, 256}, 2},
                                      {Shape{256, 4096}, 5}}) {
    SCOPED_TRACE(testing::Message() << shape.rows << " x " << shape.cols << ", " << tokens);
    const CodedMatrix w =
        random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, shape.rows, shape.cols);
    const auto backend = make(needs_for(tokens, shape.cols));
    TestActivation x(tokens, shape.cols, random.normals(tokens * shape.cols));
    expect_product(*backend, w, x);
  }
}

TEST_P(CodedProduct, EveryWidthAndTable) {
  Random random(103);
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    for (const LevelGrid& grid : {symmetric_grid(bits), lopsided_grid(bits), wide_grid(bits)}) {
      SCOPED_TRACE(testing::Message()
                   << bits << " bits, wide " << grid.wide << ", symmetric " << grid.symmetric);
      const CodedMatrix w = random_coded(random, grid, CodeLayout::kPlanes, 21, 300);
      const auto backend = make(needs_for(7, 300));
      for (const int64_t tokens : {1, 7}) {
        TestActivation x(tokens, 300, random.normals(tokens * 300));
        expect_product(*backend, w, x);
      }
    }
  }
}

TEST_P(CodedProduct, PublishedOptimalAndGridTables) {
  Random random(104);
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    for (const CodebookKind kind :
         {CodebookKind::kWire, CodebookKind::kOptimal, CodebookKind::kGrid, CodebookKind::kKv}) {
      const Levels& levels = codebook(kind, bits);
      const auto grid = snap_to_grid(levels);
      ASSERT_TRUE(grid) << grid.error().message;
      const CodedMatrix w = random_coded(random, *grid, layout_for(*grid), 17, 384);
      SCOPED_TRACE(testing::Message()
                   << bits << " bits, kind " << static_cast<int>(kind) << ", wide " << grid->wide);
      const auto backend = make(needs_for(2, 384));
      TestActivation x(2, 384, random.normals(2 * 384));
      expect_product(*backend, w, x);
    }
  }
}

// Sums that reach the limits of the integers: every code the lowest or highest level, and inputs
// whose rotation is +-127 throughout (one hot element per block).
TEST_P(CodedProduct, LargestIntegers) {
  const int64_t cols = 5 * kBlock, rows = 19;
  for (const LevelGrid& grid :
       {symmetric_grid(5), lopsided_grid(5), symmetric_grid(8), wide_grid(8)}) {
    const bool tiled = grid.bits == 5 && grid.symmetric;
    Random random(105);
    CodedMatrix w =
        random_coded(random, grid, tiled ? CodeLayout::kTiled5 : CodeLayout::kPlanes, rows, cols);
    for (size_t i = 0; i < w.codes.size(); ++i) {
      // Rows in turn: all highest, all lowest, the sign pattern of the rotated second element.
      const size_t row = i / static_cast<size_t>(cols);
      const bool high = row % 3 == 0 || (row % 3 == 2 && i % 2 == 0);
      w.codes[i] = static_cast<uint8_t>(high ? grid.levels() - 1 : 0);
    }
    w.pack();
    TestActivation x(3, cols, std::vector<float>(static_cast<size_t>(3 * cols), 0.0f));
    for (int64_t b = 0; b < cols / kBlock; ++b) {
      x.x.row(0)[b * kBlock] = 1000.0f;     // rotates to all +
      x.x.row(1)[b * kBlock] = -1000.0f;    // all -
      x.x.row(2)[b * kBlock + 1] = 0.001f;  // + - + -
    }
    const auto backend = make(needs_for(3, cols));
    expect_product(*backend, w, x);
  }
}

// Zero blocks, blocks under the tiny threshold, scales that make subnormal terms, huge, tiny and
// zero norms: nothing may be flushed to zero or skipped differently.
TEST_P(IntegerProduct, ExtremeScalesAndNorms) {
  const int64_t cols = 9 * kBlock + 72, rows = 40;
  for (const CodeLayout layout : {CodeLayout::kTiled5, CodeLayout::kPlanes}) {
    Random random(106);
    CodedMatrix w = random_coded(random, symmetric_grid(5), layout, rows, cols);
    const uint16_t extremes[] = {0x7bff, 0x0001, 0x0000, 0x03ff, 0x3c00};  // 65504 ... 1.0
    for (size_t i = 0; i < w.norms.size(); i += 3) w.norms[i] = extremes[i / 3 % 5];
    w.pack();
    TestActivation x(8, cols, random.normals(8 * cols));
    const double sizes[] = {0.0, 1e-33, 2e-31, 1e-29, 1e-12, 1.0, 1e12, 1e24};
    for (int64_t t = 0; t < 8; ++t) {
      for (int64_t i = 0; i < cols; ++i) {
        x.x.row(t)[i] *= static_cast<float>(sizes[(i / kBlock + t) % 8]);
      }
    }
    const auto backend = make(needs_for(8, cols));
    expect_product(*backend, w, x);
  }
}

// A row's bits depend neither on the other tokens nor on where rows start, also where FP32 sums are
// used (exact compute).
TEST_P(CodedProduct, TokensDoNotSeeEachOther) {
  Random random(107);
  const std::vector<float> values = random.normals(kLargestBatch * 456);
  for (const LevelGrid& grid : {symmetric_grid(5), lopsided_grid(4), wide_grid(7)}) {
    const CodedMatrix w = random_coded(random, grid, layout_for(grid), 45, 456);
    const auto backend = make(needs_for(kLargestBatch, 456));
    std::vector<float> want;  // from one token at a time
    for (const RowStart start : kRowStarts) {
      TestActivation x(kLargestBatch, 456, values, start);
      x.quantize();
      for (int64_t t = 0; want.size() < kLargestBatch * 45; ++t) {
        const std::vector<float> one = run(*backend, w, x.token(t));
        want.insert(want.end(), one.begin(), one.end());
      }
      for (const int64_t tokens : kBatches) {
        const int64_t first = kLargestBatch - tokens;
        EXPECT_TRUE(same_bits(std::span(want).subspan(static_cast<size_t>(first) * 45),
                              run(*backend, w, x.part(first, tokens))))
            << tokens << " tokens, wide " << grid.wide;
      }
    }
  }
}

// Several matrices on one input, with a bias and with accumulation: each one addition at the end.
TEST_P(CodedProduct, BiasAndAccumulate) {
  Random random(108);
  const int64_t cols = 330, tokens = 5;
  const CodedMatrix tiled = random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, 30, cols);
  const CodedMatrix planes = random_coded(random, lopsided_grid(3), CodeLayout::kPlanes, 12, cols);
  TestActivation x(tokens, cols, random.normals(tokens * cols));
  x.quantize();
  const auto backend = make(needs_for(tokens, cols));
  const std::vector<float> plain_tiled = run(*backend, tiled, x.view());
  const std::vector<float> plain_planes = run(*backend, planes, x.view());

  const std::vector<float> old = random.normals(tokens * 30), bias = random.normals(30);
  const Array<float> bias_array(bias);
  const Rows both(tokens, 30, old), with_bias(tokens, 30),
      sum(tokens, 12, std::vector<float>(old.begin(), old.begin() + tokens * 12));
  const Projection projections[] = {
      {.weight = tiled.matrix(), .bias = bias_array.data(), .y = both.view(), .accumulate = true},
      {.weight = tiled.matrix(), .bias = bias_array.data(), .y = with_bias.view()},
      {.weight = planes.matrix(), .y = sum.view(), .accumulate = true}};
  backend->project({.x = x.view(), .projections = projections});

  std::vector<float> want_both, want_bias, want_sum;
  for (size_t i = 0; i < plain_tiled.size(); ++i) {
    const float with = plain_tiled[i] + bias[i % 30];
    want_bias.push_back(with);
    want_both.push_back(old[i] + with);
  }
  for (size_t i = 0; i < plain_planes.size(); ++i) want_sum.push_back(old[i] + plain_planes[i]);
  EXPECT_TRUE(same_bits(want_bias, with_bias.values()));
  EXPECT_TRUE(same_bits(want_both, both.values()));
  EXPECT_TRUE(same_bits(want_sum, sum.values()));
}

// The integers cost little: int8 activations err by m/127/sqrt(12) a value, m about 2.8 deviations
// of a Gaussian block, so NMSE near (2.8/127)^2/12 = 4e-5.
TEST_P(CodedProduct, CloseToTheDecodedMatrix) {
  Random random(109);
  const CodedMatrix w = random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, 64, 512);
  TestActivation x(4, 512, random.normals(4 * 512));
  x.quantize();
  const auto backend = make(needs_for(4, 512));
  const std::vector<double> want = product(x.x.values(), decoded_weights(w), 512);
  EXPECT_LT(nmse(want, run(*backend, w, x.view())), integer() ? 2e-4 : 1e-10);
}

// Matrices of one table in one call, more than a launch holds, for every kernel; and of others.
TEST_P(IntegerProduct, SeveralMatricesInOneCall) {
  Random random(111);
  const int64_t cols = 1856;
  // The same object where tables are the same: a back end may fuse those.
  const LevelGrid usual = symmetric_grid(5), narrow = lopsided_grid(3), wide = wide_grid(7);
  LevelGrid other = usual;
  other.step *= 0.75f;
  other.v[31] = 100, other.v[0] = -101;
  struct Case {
    int64_t rows;
    const LevelGrid* grid;
    bool bias, accumulate;
  };
  const Case cases[] = {{328, &usual, true, false}, {203, &usual, false, true},
                        {9, &usual, true, true},    {1, &usual, false, false},
                        {70, &usual, true, false},  {17, &other, false, false},
                        {24, &narrow, true, true},  {31, &wide, false, false}};
  std::vector<CodedMatrix> matrices;
  std::vector<std::vector<float>> products, biases, old;
  std::vector<Array<float>> bias_arrays;
  TestActivation x(kLargestBatch, cols, random.normals(kLargestBatch * cols));
  x.quantize();
  for (const Case& c : cases) {
    matrices.push_back(random_coded(random, *c.grid, layout_for(*c.grid), c.rows, cols));
    products.push_back(integer_product(matrices.back(), x));
    biases.push_back(random.normals(c.rows));
    bias_arrays.emplace_back(biases.back());
    old.push_back(random.normals(kLargestBatch * c.rows));
  }
  const auto backend = make(needs_for(kLargestBatch, cols));
  for (const int64_t tokens : kBatches) {
    if (slow() && tokens > 9) break;
    std::vector<Rows> y;
    std::vector<Projection> projections;
    for (size_t i = 0; i < std::size(cases); ++i) {
      const int64_t rows = cases[i].rows;
      const std::vector<float> before(old[i].begin(), old[i].begin() + tokens * rows);
      y.push_back(cases[i].accumulate ? Rows(tokens, rows, before) : Rows(tokens, rows));
      projections.push_back({.weight = matrices[i].matrix(),
                             .bias = cases[i].bias ? bias_arrays[i].data() : nullptr,
                             .y = y.back().view(),
                             .accumulate = cases[i].accumulate});
      projections.back().weight.grid = cases[i].grid;
    }
    backend->project({.x = x.part(0, tokens), .projections = projections});
    for (size_t i = 0; i < std::size(cases); ++i) {
      const auto rows = static_cast<size_t>(cases[i].rows);
      std::vector<float> want(products[i].begin(), products[i].begin() + tokens * cases[i].rows);
      for (size_t j = 0; j < want.size(); ++j) {
        if (cases[i].bias) want[j] = want[j] + biases[i][j % rows];
        if (cases[i].accumulate) want[j] = old[i][j] + want[j];
      }
      EXPECT_TRUE(same_bits(want, y[i].values())) << rows << " rows, " << tokens << " tokens";
      EXPECT_TRUE(y[i].gaps_untouched());
    }
  }
}

// The largest integers beside the extreme norms, for every kernel: rows of only the highest and
// only the lowest level, inputs of +-127 throughout, scales next to both ends of FP32.
TEST_P(IntegerProduct, ExtremesInEveryBatch) {
  const int64_t rows = 72, blocks = 21, cols = blocks * kBlock;
  Random random(112);
  CodedMatrix w = random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, rows, cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < cols && r % 4 != 3; ++i) {
      const bool high = r % 4 == 0 || (r % 4 == 2 && i % 2 == 0);
      w.codes[static_cast<size_t>(r * cols + i)] = high ? 31 : 0;
    }
  }
  const uint16_t norms[] = {0x7bff, 0x0400, 0x0001, 0x03ff, 0x0000};  // 65504, normal, subnormal
  for (size_t i = 0; i < w.norms.size(); ++i) w.norms[i] = norms[i % 5];
  w.pack();
  const float sizes[] = {1e30f, -1.0f, 2e-30f, -1e30f, 1.0f, -2e-30f};
  TestActivation x(kLargestBatch, cols, std::vector<float>(kLargestBatch * cols, 0.0f));
  for (int64_t t = 0; t < kLargestBatch; ++t) {
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t hot = (t + b) % 3 == 2 ? 1 : 0;  // rotates to + - + -, or to all alike
      x.x.row(t)[b * kBlock + hot] = sizes[(t + b / 2) % 6];
    }
  }
  x.quantize();
  const std::vector<float> want = integer_product(w, x);
  const auto backend = make(needs_for(kLargestBatch, cols));
  for (const int64_t tokens : kBatches) {
    const int64_t first = kLargestBatch - tokens;
    EXPECT_TRUE(same_bits(std::span(want).subspan(static_cast<size_t>(first * rows)),
                          run(*backend, w, x.part(first, tokens))))
        << tokens << " tokens";
  }
}

// A matrix and inputs with the bits of their product, computed once for all back ends.
struct KnownProduct {
  KnownProduct(uint64_t seed, const Shape& shape, int64_t tokens) : x(tokens, shape.cols) {
    Random random(seed);
    w = random_coded(random, symmetric_grid(5), CodeLayout::kTiled5, shape.rows, shape.cols);
    x.x = Rows(tokens, shape.cols, random.normals(tokens * shape.cols));
    x.quantize();
    want = integer_product(w, x);
  }
  CodedMatrix w;
  TestActivation x;
  std::vector<float> want;  // [tokens, rows]
};

class TokenCounts : public BackendTest {
 protected:
  static constexpr int64_t kMost = 257;
  static void SetUpTestSuite() {
    known_.emplace_back(113, Shape{328, 2688}, kMost);
    known_.emplace_back(114, Shape{203, 1856}, kMost);
    // So many rows that a GPU is busy with a few tokens.
    known_.emplace_back(115, Shape{17003, 384}, 32);
  }
  static void TearDownTestSuite() { known_.clear(); }  // before the GPU is gone

  static void expect_first(Backend& backend, const KnownProduct& known, int64_t tokens,
                           RowStart start) {
    const Rows y(tokens, known.w.rows, start);
    const Projection projection{.weight = known.w.matrix(), .y = y.view()};
    backend.project({.x = known.x.part(0, tokens), .projections = {&projection, 1}});
    EXPECT_TRUE(same_bits(std::span(known.want).first(static_cast<size_t>(tokens * known.w.rows)),
                          y.values()))
        << known.w.rows << " x " << known.w.cols << ", " << tokens << " tokens";
    EXPECT_TRUE(y.gaps_untouched());
  }

  inline static std::vector<KnownProduct> known_;
};

TEST_P(TokenCounts, EveryOne) {
  std::vector<int64_t> counts = {96, 130, kMost};
  for (int64_t tokens = 1; tokens <= 70; ++tokens) counts.push_back(tokens);
  if (slow()) counts = {1, 2, 7, 33};
  for (const size_t shape : {0, 1}) {
    const auto backend = make(needs_for(kMost, known_[shape].w.cols));
    for (const int64_t tokens : counts)  // rows aligned and not, the other way in the other shape
      expect_first(*backend, known_[shape], tokens,
                   kRowStarts[(static_cast<size_t>(tokens) + shape) % 2]);
  }
}

TEST_P(TokenCounts, ManyRowsFewTokens) {
  const auto backend = make(needs_for(32, known_[2].w.cols));
  for (const int64_t tokens : {1, 8, 9, 16, 17, 32}) {
    if (slow() && tokens > 9) break;
    for (const RowStart start : kRowStarts) expect_first(*backend, known_[2], tokens, start);
  }
}

HLWQ_ON_EVERY_BACKEND(CodedProduct);
HLWQ_ON_INTEGER_BACKENDS(IntegerProduct);
HLWQ_ON_INTEGER_BACKENDS(TokenCounts);

}  // namespace
}  // namespace hlwq::test
