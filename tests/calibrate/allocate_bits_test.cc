#include "calibrate/allocate_bits.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hlwq {
namespace {

// A kind whose error falls by 6 dB a bit.
KindSensitivity kind(const std::string& name, int64_t weights, double probe_kl,
                     int64_t padded = 0) {
  KindSensitivity k{.kind = name};
  k.weights = weights;
  k.padded = padded == 0 ? weights : padded;
  k.probe_kl = probe_kl;
  for (int bits = kLeastBits; bits <= kMostBits; ++bits)
    k.error[static_cast<size_t>(bits)] = std::pow(0.25, bits);
  return k;
}

TEST(AllocateBits, SensitiveKindsGetMoreAndTheTargetHolds) {
  const std::vector kinds = {kind("calm", 1280000, 0.001), kind("nervous", 1280000, 0.128)};
  const auto got = allocate_bits(kinds, 4, 5.125);
  ASSERT_TRUE(got) << got.error().message;
  // 128 times as sensitive: three and a half bits more.
  EXPECT_EQ(got->bits_of_kind.at("nervous"), 7);
  EXPECT_EQ(got->bits_of_kind.at("calm"), 3);
  EXPECT_LE(got->bits_per_weight, 5.125);
  EXPECT_GT(got->bits_per_weight, 4.5);
}

TEST(AllocateBits, NoOtherWidthsWithinTheTargetAreBetter) {
  const std::vector kinds = {kind("a", 128000, 0.02), kind("b", 256000, 0.01),
                             kind("c", 384000, 0.05)};
  constexpr double kTarget = 4.6;
  const auto got = allocate_bits(kinds, 4, kTarget);
  ASSERT_TRUE(got);
  double best = INFINITY;
  for (int a = 3; a <= 8; ++a) {
    for (int b = 3; b <= 8; ++b) {
      for (int c = 3; c <= 8; ++c) {
        const double bits =
            static_cast<double>(kinds[0].bits_at(a) + kinds[1].bits_at(b) + kinds[2].bits_at(c)) /
            768000;
        if (bits > kTarget) continue;
        best = std::min(best, kinds[0].kl_at(a, 4) + kinds[1].kl_at(b, 4) + kinds[2].kl_at(c, 4));
      }
    }
  }
  // Greedy is not always the best; how near it comes is what is promised here.
  EXPECT_LE(got->expected_kl, 1.25 * best);
  EXPECT_GE(got->expected_kl, best * (1 - 1e-12));
}

TEST(AllocateBits, PaddingCounts) {
  const std::vector kinds = {kind("padded", 128 * 160, 0.01, 128 * 256)};
  const auto got = allocate_bits(kinds, 4, 6.6);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->bits_of_kind.at("padded"), 4);  // (4 + 1/8) * 1.6 = 6.6
  EXPECT_NEAR(got->bits_per_weight, 6.6, 1e-12);
}

TEST(AllocateBits, RefusesWhatCannotBe) {
  const auto low = allocate_bits({kind("a", 1280, 0.1)}, 4, 3.0);
  ASSERT_FALSE(low);
  EXPECT_EQ(low.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(low.error().message.find("3.125"), std::string::npos) << low.error().message;
  EXPECT_FALSE(allocate_bits({}, 4, 5.0));
}

TEST(AllocateBits, StopsAtTheWidest) {
  const auto got = allocate_bits({kind("a", 1280, 0.1)}, 4, 16.0);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->bits_of_kind.at("a"), 8);
}

}  // namespace
}  // namespace hlwq
