// The pinned arithmetic, step by step, on inputs whose answers can be written down.

#include "ops/integer_dot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/float16.h"
#include "base/random.h"
#include "quant/activation.h"

namespace hlwq {
namespace {

TEST(IntegerDot, GridFactorIsExact) {
  EXPECT_EQ(grid_factor(1.0f), 0.00390625f);
  EXPECT_EQ(grid_factor(0x1.abcdp-7f), 0x1.abcdp-15f);
}

TEST(IntegerDot, CenteredDotHoldsTheLargestSums) {
  EXPECT_EQ(centered_dot(-3, 5), -1);
  const int32_t dot = 128 * 32767 * 127;
  EXPECT_EQ(centered_dot(dot, 128 * 127), 2 * dot + 16256);
  EXPECT_EQ(centered_dot(-128 * 32768 * 127, 128 * 127),
            static_cast<int32_t>(-2ll * 128 * 32768 * 127 + 16256));
}

TEST(IntegerDot, BlockTermRoundsProductOfNormAndScaleFirst) {
  // norm * scale rounds to 1 + 2^-11 (the exact 1 + 2^-11 + 2^-24 is a tie, to even); with the
  // unrounded factor, or scale * t first, the fma below would see other bits.
  const float norm = 1.0f + 0x1p-10f;
  const float scale = 1.0f + 0x1p-12f;
  const float factor = norm * scale;
  const int32_t t = 12345;
  const float want = std::fma(factor, 12345.0f, 0.1f);
  EXPECT_EQ(f32_bits(add_block(norm, scale, t, 0.1f)), f32_bits(want));
  // The product enters the sum unrounded: 3 * (1 + 2^-23) - 3 keeps what two roundings would lose.
  EXPECT_EQ(add_block(1.0f, 1.0f + 0x1p-23f, 3, -3.0f), 3 * 0x1p-23f);
  EXPECT_EQ(add_block(1.0f, 0x1p-100f, (1 << 24) + 1, 0.0f), 0x1p-76f);  // float(t) rounds to even
}

TEST(IntegerDot, ChunksOfFourAddedInOrder) {
  static_assert(kChunkBlocks == 4);
  // One chunk: 2^24 + 1 + 1 + 1 stays 2^24 by one-at-a-time additions (ties to even).
  CanonicalSum one_chunk;
  for (const float term : {0x1p24f, 1.0f, 1.0f, 1.0f}) one_chunk.add(term, 1.0f, 1);
  EXPECT_EQ(one_chunk.total(), 0x1p24f);
  // The same ones in the next chunk are summed before they meet the large term: 2^24 + 4.
  CanonicalSum two_chunks;
  for (const float term : {0x1p24f, 0.0f, 0.0f, 0.0f, 1.0f, 1.0f, 1.0f, 1.0f}) {
    two_chunks.add(term, 1.0f, 1);
  }
  EXPECT_EQ(two_chunks.total(), 0x1p24f + 4);
  // A partial last chunk joins like a whole one: 3 rounds to 4 above 2^24.
  CanonicalSum partial;
  for (const float term : {0x1p24f, 0.0f, 0.0f, 0.0f, 1.0f, 1.0f, 1.0f}) {
    partial.add(term, 1.0f, 1);
  }
  EXPECT_EQ(partial.total(), 0x1p24f + 4);
  EXPECT_EQ(f32_bits(CanonicalSum().total()), 0u);  // +0
}

TEST(IntegerDot, FinishedProductAddsBiasThenOldOutput) {
  const float bias = 1.0f, old = 0x1p24f;
  EXPECT_EQ(finish_product(0.5f, nullptr, nullptr), 0.5f);
  EXPECT_EQ(finish_product(0.5f, &bias, nullptr), 1.5f);
  EXPECT_EQ(finish_product(1.0f, &bias, &old), 0x1p24f + 2);  // not (2^24 + 1) + 1 = 2^24
}

TEST(IntegerDot, ReluSquaredRoundsOnceAndKeepsNaN) {
  EXPECT_EQ(relu_squared(-3.0f), 0.0f);
  EXPECT_EQ(f32_bits(relu_squared(-0.0f)), 0u);
  EXPECT_EQ(relu_squared(3.0f), 9.0f);
  EXPECT_EQ(relu_squared(1.0f + 0x1p-23f), 1.0f + 0x1p-22f);
  EXPECT_TRUE(std::isinf(relu_squared(1e20f)));
  EXPECT_TRUE(std::isnan(relu_squared(std::numeric_limits<float>::quiet_NaN())));
}

TEST(IntegerDot, DecodedBlockOfOneLevelIsOneHot) {
  // All levels (v + 1/2) step with v = 6: the rotation of a constant is 128 * 13 at index 0.
  std::array<int32_t, kBlock> odd;
  odd.fill(13);
  std::array<float, kBlock> weights;
  weights.fill(std::numeric_limits<float>::quiet_NaN());
  decode_block(odd.data(), 0.5f, grid_factor(0.25f), weights.data(), kBlock);
  EXPECT_EQ(weights[0], 0.5f * 0.25f / 256 * 128 * 13);
  for (size_t i = 1; i < kBlock; ++i) EXPECT_EQ(weights[i], 0.0f);
}

TEST(IntegerDot, DecodedBlockStopsAtTheRowsEnd) {
  std::array<int32_t, kBlock> odd;
  odd.fill(-65535);  // the lowest 16-bit level: 128 * 65535 is still exact in FP32
  std::array<float, 3> weights{7, 7, 7};
  decode_block(odd.data(), 1.0f, 1.0f, weights.data(), 2);
  EXPECT_EQ(weights[0], -8388480.0f);
  EXPECT_EQ(weights[1], 0.0f);
  EXPECT_EQ(weights[2], 7.0f);
}

TEST(Activation, ScaleIsAQuotientAndCodesRoundQuotients) {
  // m = 10: sx = fl(10/127); the codes are those of division, which differ from multiplication by
  // a reciprocal for some of these blocks.
  int differs = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    float z[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      z[i] = static_cast<float>(random_uniform(seed, static_cast<uint64_t>(i)) - 0.5);
    }
    float rotated[kBlock];
    std::copy_n(z, kBlock, rotated);
    butterfly128(rotated);
    int8_t xq[kBlock];
    const BlockScale scale = rotate_quantize_block(z, xq);
    float m = 0;
    for (const float v : rotated) m = std::max(m, std::abs(v));
    ASSERT_EQ(f32_bits(scale.sx), f32_bits(m / 127.0f));
    differs += f32_bits(scale.sx) != f32_bits(m * (1.0f / 127.0f));
    int32_t sum = 0;
    for (int i = 0; i < kBlock; ++i) {
      ASSERT_EQ(xq[i], static_cast<int>(std::nearbyint(rotated[i] / scale.sx)));
      sum += xq[i];
    }
    ASSERT_EQ(scale.sum, sum);
  }
  EXPECT_GT(differs, 0);  // the inputs can tell the two apart
}

TEST(Activation, OneHotBlockIsFlat) {
  float z[kBlock] = {};
  z[0] = 127.0f;
  int8_t xq[kBlock];
  const BlockScale scale = rotate_quantize_block(z, xq);
  EXPECT_EQ(scale.sx, 1.0f);
  EXPECT_EQ(scale.sum, 127 * 128);
  for (const int8_t q : xq) EXPECT_EQ(q, 127);
}

TEST(Activation, ThresholdOfZeroBlocks) {
  int8_t xq[kBlock];
  float at[kBlock] = {1e-30f};
  const BlockScale kept = rotate_quantize_block(at, xq);
  EXPECT_EQ(kept.sx, 1e-30f / 127.0f);
  EXPECT_EQ(xq[17], 127);
  float below[kBlock] = {std::nextafter(1e-30f, 0.0f)};
  const BlockScale dropped = rotate_quantize_block(below, xq);
  EXPECT_EQ(dropped.sx, 0.0f);
  EXPECT_EQ(dropped.sum, 0);
  EXPECT_TRUE(dropped.finite);
  EXPECT_EQ(xq[17], 0);
}

TEST(Activation, NonFiniteBlocks) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38f}) {
    float z[kBlock] = {1.0f, bad, bad};  // twice 3e38 overflows in the rotation
    int8_t xq[kBlock];
    const BlockScale scale = rotate_quantize_block(z, xq);
    EXPECT_FALSE(scale.finite) << bad;
    EXPECT_EQ(scale.sx, 0.0f);
    for (const int8_t q : xq) EXPECT_EQ(q, 0);
  }
}

}  // namespace
}  // namespace hlwq
