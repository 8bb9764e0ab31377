#include "calibrate/encode_calibrated.h"

#include <gtest/gtest.h>

#include <cmath>

#include "calibrate/rotate_rows.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

// Inputs with a few strong directions, as activations have.
std::vector<float> correlated_inputs(int64_t tokens, int64_t cols, uint64_t seed) {
  constexpr int64_t kDirections = 24;
  const auto directions = normal_values(static_cast<size_t>(kDirections * cols), 1.0, seed);
  const auto strengths = normal_values(static_cast<size_t>(tokens * kDirections), 1.0, seed + 1);
  auto x = normal_values(static_cast<size_t>(tokens * cols), 0.5, seed + 2);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t d = 0; d < kDirections; ++d) {
      for (int64_t i = 0; i < cols; ++i)
        x[static_cast<size_t>(t * cols + i)] +=
            strengths[static_cast<size_t>(t * kDirections + d)] *
            directions[static_cast<size_t>(d * cols + i)] / static_cast<float>(d + 1);
    }
  }
  return x;
}

struct Encoded {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> norms;
};

// Energy of (W - decoded) x over the tokens.
double output_error(const std::vector<float>& weights, const Encoded& e, int64_t cols,
                    const Levels& levels, const std::vector<float>& x) {
  std::vector<float> decoded(weights.size());
  decode_rows(e.codes, e.norms, cols, levels, decoded);
  const int64_t rows = static_cast<int64_t>(weights.size()) / cols,
                tokens = static_cast<int64_t>(x.size()) / cols;
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t t = 0; t < tokens; ++t) {
      double dot = 0;
      for (int64_t i = 0; i < cols; ++i)
        dot += (static_cast<double>(weights[static_cast<size_t>(r * cols + i)]) -
                decoded[static_cast<size_t>(r * cols + i)]) *
               x[static_cast<size_t>(t * cols + i)];
      sum += dot * dot;
    }
  }
  return sum;
}

Encoded room(int64_t rows, int64_t cols) {
  const auto blocks = static_cast<size_t>(rows * blocks_of(cols));
  return {std::vector<uint8_t>(blocks * kBlock, 0xcd), std::vector<uint16_t>(blocks, 0xcdcd)};
}

class EncodeCalibrated : public testing::TestWithParam<int64_t> {  // cols
 protected:
  void SetUp() override {
    cols_ = GetParam();
    weights_ = normal_values(static_cast<size_t>(kRows * cols_), 0.02, 21);
    // One draw of directions; its tokens are split into those learnt from and those judged by.
    const auto inputs = correlated_inputs(3000, cols_, 31);
    seen_.assign(inputs.begin(), inputs.begin() + 2000 * cols_);
    fresh_.assign(inputs.begin() + 2000 * cols_, inputs.end());
    ThreadPool pool(2);
    Moments moments(cols_);
    moments.add(dense(seen_.data(), 2000, cols_), pool);
    auto made = make_feedback(moments, {});
    ASSERT_TRUE(made) << made.error().message;
    feedback_ = std::move(*made);
  }
  static constexpr int64_t kRows = 21;  // not a multiple of 16
  int64_t cols_ = 0;
  std::vector<float> weights_, seen_, fresh_;
  Feedback feedback_;
};

TEST_P(EncodeCalibrated, ProductsOfUnseenInputsErrLess) {
  for (const int bits : {3, 5}) {
    const Levels& levels = codebook(CodebookKind::kGrid, bits);
    Encoded plain = room(kRows, cols_), calibrated = room(kRows, cols_);
    ASSERT_TRUE(encode_rows(weights_, cols_, levels, NormRule::kSearch, plain.codes, plain.norms));
    const auto distortion =
        encode_rows_calibrated(weights_, feedback_, levels, calibrated.codes, calibrated.norms);
    ASSERT_TRUE(distortion) << distortion.error().message;
    const double before = output_error(weights_, plain, cols_, levels, fresh_);
    const double after = output_error(weights_, calibrated, cols_, levels, fresh_);
    EXPECT_LT(after, 0.5 * before) << bits << " bits";
    // The reported distortion is that of the codes.
    std::vector<float> decoded(weights_.size());
    decode_rows(calibrated.codes, calibrated.norms, cols_, levels, decoded);
    double wd = 0;
    for (size_t i = 0; i < decoded.size(); ++i) wd += static_cast<double>(weights_[i]) * decoded[i];
    EXPECT_NEAR(distortion->wd, wd, 1e-9 * std::fabs(wd));
    EXPECT_EQ(distortion->count, kRows * cols_);
  }
}

TEST_P(EncodeCalibrated, RowsDoNotDependOnEachOther) {
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  Encoded all = room(kRows, cols_), one = room(1, cols_);
  ASSERT_TRUE(encode_rows_calibrated(weights_, feedback_, levels, all.codes, all.norms));
  for (const int64_t row : {int64_t{0}, int64_t{15}, int64_t{16}, kRows - 1}) {
    const std::span<const float> weights(weights_.data() + row * cols_, static_cast<size_t>(cols_));
    ASSERT_TRUE(encode_rows_calibrated(weights, feedback_, levels, one.codes, one.norms));
    EXPECT_TRUE(std::equal(one.codes.begin(), one.codes.end(),
                           all.codes.begin() + row * blocks_of(cols_) * kBlock));
    EXPECT_TRUE(
        std::equal(one.norms.begin(), one.norms.end(), all.norms.begin() + row * blocks_of(cols_)));
  }
}

TEST_P(EncodeCalibrated, RefusesWhatIsNotFinite) {
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  Encoded e = room(kRows, cols_);
  weights_[static_cast<size_t>(2 * cols_ + 7)] = NAN;
  const auto refused = encode_rows_calibrated(weights_, feedback_, levels, e.codes, e.norms);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kBadValue);
  EXPECT_NE(refused.error().message.find("row 2, column 7"), std::string::npos)
      << refused.error().message;
  weights_[static_cast<size_t>(2 * cols_ + 7)] = 1e7f;
  const auto large = encode_rows_calibrated(weights_, feedback_, levels, e.codes, e.norms);
  ASSERT_FALSE(large);
  EXPECT_NE(large.error().message.find("does not fit FP16"), std::string::npos)
      << large.error().message;
}

INSTANTIATE_TEST_SUITE_P(Cols, EncodeCalibrated, testing::Values(128, 160, 384));

// H = (I + U) D (I + U)ᵀ of the damped moments, blocks in the chosen order.
TEST(Feedback, FactorsOfTheMoments) {
  constexpr int64_t kCols = 256, kTokens = 600;
  const auto x = correlated_inputs(kTokens, kCols, 41);
  ThreadPool pool(2);
  Moments moments(kCols);
  moments.add(dense(x.data(), kTokens, kCols), pool);
  const auto f = make_feedback(moments, {.damping = 0.02, .shrinkage = 6.0});
  ASSERT_TRUE(f) << f.error().message;
  ASSERT_EQ(f->order.size(), 2u);
  double trace = 0;
  for (int64_t i = 0; i < kCols; ++i) trace += moments.sums()[static_cast<size_t>(i * kCols + i)];
  const double mean = trace / kCols;
  const auto at = [&](int64_t k) {
    return f->order[static_cast<size_t>(k / kBlock)] * int64_t{kBlock} + k % kBlock;
  };
  for (int64_t i = 0; i < kCols; ++i) {
    EXPECT_FLOAT_EQ(f->upper[static_cast<size_t>(i * kCols + i)], 1.0f);
    for (int64_t j = i; j < kCols; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t t = j; t < kCols; ++t) {
        const double product = static_cast<double>(f->upper[static_cast<size_t>(i * kCols + t)]) *
                               f->penalty[static_cast<size_t>(t)] *
                               f->upper[static_cast<size_t>(j * kCols + t)];
        sum += product;
        magnitude += std::fabs(product);
      }
      const int64_t from = std::min(at(i), at(j)), to = std::max(at(i), at(j));
      const double wanted = moments.sums()[static_cast<size_t>(from * kCols + to)] / mean +
                            (i == j ? 0.02 + 6.0 * kCols / kTokens : 0.0);
      EXPECT_NEAR(sum, wanted, (kCols + 4) * 0x1p-23 * magnitude) << i << "," << j;
    }
  }
}

TEST(Feedback, RefusesInputsThatAreNotFinite) {
  ThreadPool pool(1);
  Moments moments(128);
  std::vector<float> x(128, 1.0f);
  x[3] = INFINITY;
  moments.add(dense(x.data(), 1, 128), pool);
  EXPECT_FALSE(make_feedback(moments, {}));
}

}  // namespace
}  // namespace hlwq
