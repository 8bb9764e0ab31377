// RMS norm, the quantization of activations and the elementwise sum.

#include <bit>
#include <cmath>
#include <limits>

#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using Norm = BackendTest;
using Quantize = BackendTest;
using Add = BackendTest;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<double> expected_norm(const std::vector<float>& x, const std::vector<float>& weight,
                                  double eps) {
  const size_t width = weight.size();
  std::vector<double> y(x.size());
  for (size_t t = 0; t < x.size() / width; ++t) {
    double mean = 0;
    for (size_t i = 0; i < width; ++i) {
      mean += std::pow(static_cast<double>(x[t * width + i]), 2) / static_cast<double>(width);
    }
    for (size_t i = 0; i < width; ++i) {
      y[t * width + i] = weight[i] * (x[t * width + i] / std::sqrt(mean + eps));
    }
  }
  return y;
}

TEST_P(Norm, MatchesFp64AndQuantizesWhatItWrote) {
  Random random(301);
  for (const int64_t width : {1, 7, 72, 128, 129, 256, 2688}) {
    const std::vector<float> weight = random.normals(width, 0.5, 1.0);
    const Array<float> weight_array(weight);
    const auto backend = make({.tokens = 33, .width = width});
    for (const int64_t tokens : {1, 2, 7, 33}) {
      SCOPED_TRACE(testing::Message() << tokens << " x " << width);
      const std::vector<float> x = random.normals(tokens * width, 3.0);
      const Rows in(tokens, width, x);
      const TestActivation out(tokens, width);
      backend->rms_norm(
          {.x = in.view(), .weight = weight_array.data(), .eps = 1e-5f, .out = out.view()});
      EXPECT_LT(nmse(expected_norm(x, weight, 1e-5f), out.x.values()), 1e-12);
      EXPECT_TRUE(out.x.gaps_untouched());
      out.expect_quantized();
      EXPECT_FALSE(backend->take_non_finite());
    }
  }
}

TEST_P(Norm, InPlaceAndWithoutQuantizedRows) {
  Random random(302);
  const std::vector<float> x = random.normals(3 * 200), weight = random.normals(200);
  const Array<float> weight_array(weight);
  const TestActivation in_place(3, 200, x);
  make({.tokens = 3, .width = 200})
      ->rms_norm({.x = in_place.x.view(),
                  .weight = weight_array.data(),
                  .eps = 0.1f,
                  .out = in_place.floats()});
  EXPECT_LT(nmse(expected_norm(x, weight, 0.1f), in_place.x.values()), 1e-12);
}

// Nor does it matter where rows start.
TEST_P(Norm, TokensDoNotSeeEachOther) {
  Random random(303);
  for (const int64_t width : {333, 640}) {
    const std::vector<float> values = random.normals(33 * width);
    const Rows x(33, width, values);
    const Array<float> weight(random.normals(width));
    const auto backend = make({.tokens = 33, .width = width});
    for (const RowStart start : kRowStarts) {
      const Rows rows(33, width, values, start);
      const TestActivation all(33, width, start);
      backend->rms_norm(
          {.x = rows.view(), .weight = weight.data(), .eps = 1e-5f, .out = all.view()});
      EXPECT_TRUE(all.x.gaps_untouched());
      all.expect_quantized();
      for (int64_t t = 0; t < 33; ++t) {
        const TestActivation one(1, width);
        backend->rms_norm(
            {.x = x.row_view(t), .weight = weight.data(), .eps = 1e-5f, .out = one.view()});
        EXPECT_TRUE(same_bits(all.x.row_values(t), one.x.values())) << t;
      }
    }
  }
}

TEST_P(Quantize, PinnedBits) {
  Random random(304);
  for (const int64_t cols : {1, 72, 128, 200, 256, 2688}) {
    const auto backend = make({.tokens = 33, .width = cols});
    for (const int64_t tokens : {1, 2, 7, 33}) {
      for (const RowStart start : kRowStarts) {
        SCOPED_TRACE(testing::Message() << tokens << " x " << cols);
        const TestActivation a(tokens, cols, random.normals(tokens * cols, 10.0), start);
        backend->quantize({a.view()});
        a.expect_quantized();
        EXPECT_FALSE(backend->take_non_finite());
      }
    }
  }
}

// Inputs whose rotation is known: every half-way value must round to even, never up.
TEST_P(Quantize, TiesGoToEven) {
  float z[kBlock];
  for (int i = 0; i < kBlock; ++i) z[i] = static_cast<float>(i - 64) + 0.5f;
  z[0] = 127.0f;  // the scale is 1
  TestActivation a(1, kBlock);
  for (uint32_t i = 0; i < kBlock; ++i) {  // x = H z / 128, exact in FP32
    float sum = 0;
    for (uint32_t j = 0; j < kBlock; ++j) sum += std::popcount(i & j) % 2 == 0 ? z[j] : -z[j];
    a.x.row(0)[i] = sum / kBlock;
  }
  make({.tokens = 1, .width = kBlock})->quantize({a.view()});
  EXPECT_EQ(a.sx[0], 1.0f);
  EXPECT_EQ(a.xq[0], 127);
  for (int i = 1; i < kBlock; ++i) {
    const int down = i - 64;  // z is half-way between down and down + 1
    EXPECT_EQ(a.xq[i], down % 2 == 0 ? down : down + 1) << i;
  }
  a.expect_quantized();
}

// The threshold, subnormals, huge values, one hot elements, zeros.
TEST_P(Quantize, ExtremeScales) {
  Random random(305);
  const float below = std::nextafter(1e-30f, 0.0f);
  const float hot[] = {0.0f, -0.0f, 1e-30f, below, -1e-30f, 1e-45f, 1e-38f, 3e38f, -1e36f, 1.0f};
  TestActivation a(10, 3 * kBlock, std::vector<float>(30 * kBlock, 0.0f));
  for (int64_t t = 0; t < 10; ++t) {
    a.x.row(t)[t] = hot[t];
    a.x.row(t)[2 * kBlock + 5] = hot[9 - t];
    for (int64_t i = 0; i < kBlock; ++i) {
      a.x.row(t)[kBlock + i] =
          static_cast<float>(random.normal() * std::pow(10.0, 7.0 * static_cast<double>(t) - 35));
    }
  }
  const auto backend = make({.tokens = 10, .width = 3 * kBlock});
  backend->quantize({a.view()});
  a.expect_quantized();
  EXPECT_EQ(a.sx[0], 0.0f);
  EXPECT_EQ(a.sx[2 * 3], 1e-30f / 127.0f);  // exactly at the threshold: not a zero block
  EXPECT_EQ(a.sx[3 * 3], 0.0f);
  EXPECT_FALSE(backend->take_non_finite());
}

// NaN, infinity, and finite values whose rotation overflows: the flag is set, sticks, and clears
// when read; other tokens are as ever.
TEST_P(Quantize, NonFiniteSetsTheFlag) {
  Random random(306);
  const auto backend = make({.tokens = 3, .width = 200});
  for (const float bad :
       {kNaN, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    const TestActivation a(3, 200, random.normals(600));
    a.x.row(1)[150] = bad;
    backend->quantize({a.view()});
    const TestActivation fine(1, 200, random.normals(200));
    backend->quantize({fine.view()});
    EXPECT_TRUE(backend->take_non_finite()) << bad;
    EXPECT_FALSE(backend->take_non_finite());
    a.expect_quantized();
  }
  const TestActivation overflow(1, 200, std::vector<float>(200, 3e38f));
  backend->quantize({overflow.view()});
  EXPECT_TRUE(backend->take_non_finite());
  overflow.expect_quantized();
}

TEST_P(Quantize, AbsentRowsAreLeftAlone) {
  const TestActivation a(2, 100, std::vector<float>(200, kNaN));
  const auto backend = make({.tokens = 2, .width = 100});
  backend->quantize({a.floats()});
  EXPECT_FALSE(backend->take_non_finite());
  EXPECT_EQ(a.xq[0], -1);  // as the test filled it
}

TEST_P(Add, OneAdditionEach) {
  Random random(307);
  for (const int64_t cols : {1, 7, 200, 2688}) {
    const std::vector<float> x = random.normals(5 * cols), y = random.normals(5 * cols, 100.0);
    for (const RowStart start : kRowStarts) {
      const Rows in(5, cols, x, start), out(5, cols, y, start);
      make({.tokens = 5, .width = cols})->add({.x = in.view(), .y = out.view()});
      std::vector<float> want;
      for (size_t i = 0; i < x.size(); ++i) want.push_back(y[i] + x[i]);
      EXPECT_TRUE(same_bits(want, out.values())) << cols;
      EXPECT_TRUE(out.gaps_untouched());
    }
  }
}

HLWQ_ON_EVERY_BACKEND(Norm);
HLWQ_ON_EVERY_BACKEND(Quantize);
HLWQ_ON_EVERY_BACKEND(Add);

}  // namespace
}  // namespace hlwq::test
