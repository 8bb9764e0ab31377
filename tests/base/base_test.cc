#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "base/float16.h"
#include "base/random.h"
#include "base/units.h"

namespace hlwq {
namespace {

TEST(Float16, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t h = 0; h < 0x10000u; ++h) {
    const float f = f16_to_f32(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(f))));
    } else {
      ASSERT_EQ(f32_to_f16(f), h);
    }
#if defined(__FLT16_MAX__)
    _Float16 native;
    const auto bits = static_cast<uint16_t>(h);
    std::memcpy(&native, &bits, 2);
    if (!std::isnan(f)) {
      ASSERT_EQ(f, static_cast<float>(native));
    }
#endif
  }
}

TEST(Float16, HalfRoundsToNearestEven) {
#if defined(__FLT16_MAX__)
  for (uint64_t i = 0; i < 400000; ++i) {
    // All exponents from below the half's subnormals to above its range.
    const auto u = static_cast<uint32_t>(random_bits(1, i));
    const float f = f32_from_bits((u & 0x807fffffu) | ((96u + (u >> 23) % 50u) << 23));
    const auto native = static_cast<_Float16>(f);
    uint16_t bits;
    std::memcpy(&bits, &native, 2);
    ASSERT_EQ(f32_to_f16(f), bits) << f;
  }
#endif
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bffu);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00u);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0u);  // a tie goes to even
  EXPECT_EQ(f32_to_f16(0x1.8p-25f), 1u);
}

TEST(Float16, Bf16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80u);
  EXPECT_EQ(f32_to_bf16(f32_from_bits(0x3f808000u)), 0x3f80u);
  EXPECT_EQ(f32_to_bf16(f32_from_bits(0x3f818000u)), 0x3f82u);
  EXPECT_EQ(f32_to_bf16(f32_from_bits(0x3f808001u)), 0x3f81u);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Units, ParsesWhatPeopleWrite) {
  EXPECT_EQ(parse_bytes("7.6GB").value(), 7600000000);
  EXPECT_EQ(parse_bytes("1 GiB").value(), 1 << 30);
  EXPECT_EQ(parse_bytes("512mb").value(), 512000000);
  EXPECT_EQ(parse_bytes("1048576").value(), 1048576);
  for (const char* bad : {"", "GB", "-1GB", "1XB", "1e300GB", "nan", "inf", "7.6GB extra"})
    EXPECT_FALSE(parse_bytes(bad)) << bad;
}

TEST(Units, FormatsThreeDigits) {
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(20567000000), "20.6 GB");
  EXPECT_EQ(format_bytes(999960000), "1.00 GB");
}

TEST(Checked, SaysWhenAProductDoesNotFit) {
  EXPECT_EQ(checked_mul(1u << 31, 1u << 31), uint64_t{1} << 62);
  EXPECT_FALSE(checked_mul(uint64_t{1} << 33, uint64_t{1} << 33));
  EXPECT_FALSE(checked_add(~uint64_t{0}, 1));
  const int64_t negative[] = {2, -3};
  EXPECT_FALSE(checked_product(negative));
}

}  // namespace
}  // namespace hlwq
