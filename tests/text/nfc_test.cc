#include "text/nfc.h"

#include <gtest/gtest.h>

namespace hlwq {
namespace {

TEST(Nfc, ComposesAndReorders) {
  EXPECT_EQ(*to_nfc("e\u0301"), "\u00E9");
  EXPECT_EQ(*to_nfc("q\u0307\u0323"), "q\u0323\u0307");  // by combining class: 220 before 230
  EXPECT_EQ(*to_nfc("\u1E0B\u0323"), "\u1E0D\u0307");    // example of UAX 15
  EXPECT_EQ(*to_nfc("\u1100\u1161\u11A8"), "\uAC01");    // Hangul
  EXPECT_EQ(*to_nfc("\u212B\u2126"), "\u00C5\u03A9");    // singletons
  EXPECT_EQ(*to_nfc("\u0958"), "\u0915\u093C");          // composition exclusion
  EXPECT_EQ(*to_nfc("\uFB01"), "\uFB01");                // compatibility is left alone
  EXPECT_EQ(*to_nfc(std::string_view("a\0e\u0301", 5)), std::string("a\0\u00E9", 4));
  EXPECT_EQ(*to_nfc(""), "");
}

TEST(Nfc, QuickTest) {
  EXPECT_TRUE(is_surely_nfc("caf\u00E9 \u02FF"));
  EXPECT_FALSE(is_surely_nfc("e\u0301"));
}

// A sort by swapping neighbours would take 10^10 steps here.
TEST(Nfc, LongRunOfMarks) {
  const int marks = 100'000;
  std::string text = "a", want = "a";
  for (int i = 0; i < marks; ++i) text += "\u0307\u0323";
  for (int i = 0; i < marks; ++i) want += "\u0323";
  for (int i = 0; i < marks; ++i) want += "\u0307";
  // a + U+0323 is U+1EA1, and U+0307 does not compose with that.
  want.replace(0, 3, "\u1EA1");
  EXPECT_EQ(*to_nfc(text), want);
}

TEST(Nfc, FollowsRanges) {
  using Ranges = std::vector<ByteRange>;
  const auto mapped = [](std::string_view text, const Ranges& ranges) {
    const auto normal = to_nfc(text, ranges);
    EXPECT_EQ(normal->text, *to_nfc(text)) << text;
    return normal->ranges;
  };
  EXPECT_EQ(mapped("abcd", {{1, 2}, {3, 4}}), (Ranges{{1, 2}, {3, 4}}));
  EXPECT_EQ(mapped("", {}), Ranges{});
  // NFC already: exact, also between characters that are not ASCII.
  EXPECT_EQ(mapped("a\u4E00\u4E01b", {{4, 8}}), (Ranges{{4, 8}}));
  // e + acute (3 bytes) to one character of 2, in the range if either is.
  EXPECT_EQ(mapped("xe\u0301y", {{1, 2}}), (Ranges{{1, 3}}));
  EXPECT_EQ(mapped("xe\u0301y", {{2, 4}}), (Ranges{{1, 3}}));
  EXPECT_EQ(mapped("xe\u0301y", {{4, 5}}), (Ranges{{3, 4}}));
  EXPECT_EQ(mapped("xe\u0301y", {{0, 1}, {4, 5}}), (Ranges{{0, 1}, {3, 4}}));
  // The ASCII character before a changed part keeps its place.
  EXPECT_EQ(mapped(">\u0958y", {{1, 4}}), (Ranges{{1, 7}}));
  EXPECT_EQ(mapped(">\u0958y", {{0, 1}, {4, 5}}), (Ranges{{0, 1}, {7, 8}}));
}

}  // namespace
}  // namespace hlwq
