#include "base/utf8.h"

#include <gtest/gtest.h>

namespace hlwq {
namespace {

std::string replaced(std::string_view bytes) {
  std::string text;
  append_replacing_invalid(bytes, text);
  return text;
}

const std::string kR(kReplacementUtf8);

TEST(Utf8, EveryScalarValueRoundTrips) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(c, text);
    const Utf8Step step = step_utf8(text);
    ASSERT_EQ(step.kind, Utf8Step::Kind::kValid) << c;
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.bytes, static_cast<int>(text.size()));
    ASSERT_EQ(last_code_point("a" + text), c);
  }
}

// Table 3-8 of the Unicode standard (U+FFFD for maximal subparts), and the forms it forbids.
TEST(Utf8, MaximalSubparts) {
  EXPECT_EQ(replaced("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a" + kR + kR + kR + "b" + kR + "c" + kR + kR + "d");
  EXPECT_EQ(replaced("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            kR + kR + kR + kR + kR + kR + kR + kR + "A");
  EXPECT_EQ(replaced("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            kR + kR + kR + kR + kR + kR + kR + kR + "A");
  EXPECT_EQ(replaced("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            kR + kR + kR + kR + kR + "A" + kR + kR + "B");
  EXPECT_EQ(replaced("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), kR + kR + kR + kR + "A");
  EXPECT_EQ(replaced("ascii only, more than eight\xF0\x9F\x98"),
            "ascii only, more than eight" + kR);
}

TEST(Utf8, WellFormed) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8(std::string_view("\0 caf\xC3\xA9", 7)));
  EXPECT_FALSE(is_utf8("eight ascii bytes and then \x80"));
  EXPECT_FALSE(is_utf8("caf\xC3"));
}

}  // namespace
}  // namespace hlwq
