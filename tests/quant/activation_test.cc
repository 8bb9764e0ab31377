#include "quant/activation.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cfenv>
#include <limits>

#include "tests/quant/goldens.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

using Block = std::array<float, kBlock>;

// The butterfly by its definition: stage by stage into a new array.
Block rotate_again(const Block& in) {
  Block now = in;
  for (int bit = 0; bit < 7; ++bit) {
    Block next{};
    for (unsigned i = 0; i < kBlock; ++i) {
      const unsigned pair = i ^ (1u << bit);
      next[i] = (i >> bit & 1u) == 0 ? now[i] + now[pair] : now[pair] - now[i];
    }
    now = next;
  }
  return now;
}

// round-half-even without rintf.
int round_even(float x) {
  const auto floor = static_cast<int>(std::floor(x));
  const float rest = x - static_cast<float>(floor);
  if (rest < 0.5f) return floor;
  if (rest > 0.5f) return floor + 1;
  return floor % 2 == 0 ? floor : floor + 1;
}

void expect_same_as_definition(const Block& x) {
  Block z = x;
  std::array<int8_t, kBlock> xq;
  xq.fill(99);
  const BlockScale got = rotate_quantize_block(z.data(), xq.data());
  const Block rotated = rotate_again(x);
  float most = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(z[i]), std::bit_cast<uint32_t>(rotated[i])) << i;
    most = std::max(most, std::abs(rotated[i]));
  }
  ASSERT_TRUE(got.finite);
  const float sx = most < 1e-30f ? 0.0f : most / 127.0f;
  EXPECT_EQ(got.sx, sx);
  int sum = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    const int expected = sx == 0 ? 0 : round_even(rotated[i] / sx);
    EXPECT_EQ(xq[i], expected) << i;
    EXPECT_LE(std::abs(expected), 127);
    sum += expected;
  }
  EXPECT_EQ(got.sum, sum);
}

TEST(Activation, AgreesWithTheDefinitionInEveryBit) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    const double spread = std::pow(10.0, static_cast<double>(seed % 13) - 6);
    const std::vector<float> values = normal_values(kBlock, spread, seed);
    Block x;
    std::copy(values.begin(), values.end(), x.begin());
    if (seed % 5 == 0) x[seed % kBlock] *= 1000;  // an outlier
    expect_same_as_definition(x);
  }
}

TEST(Activation, ExtremeBlocks) {
  expect_same_as_definition(Block{});
  Block x{};
  x[3] = 1e-38f;
  expect_same_as_definition(x);  // below kTinyActivation: zero
  x[3] = 1e-29f;
  expect_same_as_definition(x);  // above it
  x.fill(1.0f);
  expect_same_as_definition(x);  // one coordinate 128, the rest 0
  x.fill(-0.0f);
  expect_same_as_definition(x);
}

TEST(Activation, TiesRoundToEven) {
  // Rotating 128 e_0 * k/2 + ... is awkward; instead build the input of a wanted z by rotating it.
  // z = (127, 0.5, 1.5, 2.5, -0.5, -1.5, 0 ...): sx = 1 exactly, all sums exact in FP32.
  Block z{};
  z[0] = 127;
  z[1] = 0.5f;
  z[2] = 1.5f;
  z[3] = 2.5f;
  z[4] = -0.5f;
  z[5] = -1.5f;
  Block x = rotate_again(z);
  for (float& value : x) value /= 128;
  std::array<int8_t, kBlock> xq;
  const BlockScale scale = rotate_quantize_block(x.data(), xq.data());
  EXPECT_EQ(scale.sx, 1.0f);
  EXPECT_EQ(xq[0], 127);
  EXPECT_EQ(xq[1], 0);
  EXPECT_EQ(xq[2], 2);
  EXPECT_EQ(xq[3], 2);
  EXPECT_EQ(xq[4], 0);
  EXPECT_EQ(xq[5], -2);
  EXPECT_EQ(scale.sum, 129);
}

TEST(Activation, NonFiniteBlocksAreFlagged) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float largest = std::numeric_limits<float>::max();
  for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t at : {size_t{0}, size_t{77}, size_t{127}}) {
      Block z;
      const std::vector<float> values = normal_values(kBlock, 1, 5);
      std::copy(values.begin(), values.end(), z.begin());
      z[at] = bad;
      std::array<int8_t, kBlock> xq;
      xq.fill(99);
      const BlockScale scale = rotate_quantize_block(z.data(), xq.data());
      EXPECT_FALSE(scale.finite);
      EXPECT_EQ(scale.sx, 0);
      EXPECT_EQ(scale.sum, 0);
      for (const int8_t q : xq) EXPECT_EQ(q, 0);
    }
  }
  Block z;
  z.fill(largest);  // finite, but the rotation overflows
  std::array<int8_t, kBlock> xq;
  EXPECT_FALSE(rotate_quantize_block(z.data(), xq.data()).finite);
}

TEST(Hadamard, AgreesWithTheGoldenTransform) {
  auto rows = Goldens::get().tensor<float>("transform/in");
  const auto expected = Goldens::get().tensor<float>("transform/out");
  const double norm = 1 / std::sqrt(128.0);
  for (size_t r = 0; r < rows.size(); r += kBlock) {
    butterfly128(rows.data() + r);
    for (size_t i = r; i < r + kBlock; ++i) EXPECT_NEAR(rows[i] * norm, expected[i], 2e-6);
  }
}

TEST(Hadamard, TwiceIsTheIdentity) {
  // Small integers stay exact: sums reach at most 128 * 128 * 1000 < 2^24.
  Block x, z;
  for (size_t i = 0; i < kBlock; ++i)
    x[i] = static_cast<float>(static_cast<int>(random_bits(6, i) % 2001) - 1000);
  z = x;
  butterfly128(z.data());
  butterfly128(z.data());
  for (size_t i = 0; i < kBlock; ++i) EXPECT_EQ(z[i], 128 * x[i]);
}

}  // namespace
}  // namespace hlwq
