#include "io/printable.h"

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace hlwq {
namespace {

TEST(Utf8, TakesEveryLengthAndTheLimits) {
  for (const char* text : {"", "abc", "\u00e9", "\u20ac", "\U0001F600", "\uFFFF", "\U0010FFFF",
                           "\xED\x9F\xBF" /* U+D7FF */, "\xEE\x80\x80" /* U+E000 */})
    EXPECT_TRUE(is_utf8(text)) << printable(text);
}

TEST(Utf8, RefusesWhatIsNotWellFormed) {
  for (const std::string_view text :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xC3(",
        "\xE2\x28\xA1", "\xF0\x9F\x98"})
    EXPECT_FALSE(is_utf8(text)) << printable(text);
}

TEST(Printable, KeepsTextAndEscapesTheRest) {
  EXPECT_EQ(printable("model.\u00e9\U0001F600"), "model.\u00e9\U0001F600");
  EXPECT_EQ(printable("a\nb\x1b[2J\x7f"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(printable(std::string_view("\0x", 2)), "\\x00x");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\xc2\\x9b31m");  // U+009B, a one-character escape
  EXPECT_EQ(printable("\xFFz\xE2\x82"), "\\xffz\\xe2\\x82");
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdef", 5), "abcde...");
  EXPECT_EQ(printable("ab\u20ac", 4), "ab...");
}

}  // namespace
}  // namespace hlwq
