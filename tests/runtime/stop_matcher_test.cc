#include "runtime/stop_matcher.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"

namespace hlwq {
namespace {

std::string all_at_once(const std::vector<std::string>& stops, std::string_view text,
                        bool* matched) {
  StopMatcher matcher(stops);
  std::string out = matcher.push(text);
  *matched = matcher.matched();
  return out + matcher.finish();
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBegin) {
  StopMatcher matcher({"END", "\n\n"});
  EXPECT_EQ(matcher.push("one E"), "one ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("x"), "ENx");
  EXPECT_EQ(matcher.push("two\n"), "two");
  EXPECT_EQ(matcher.push("three"), "\nthree");
  EXPECT_EQ(matcher.push("EE"), "E");
  EXPECT_EQ(matcher.push("ND more"), "");
  EXPECT_TRUE(matcher.matched());
  EXPECT_EQ(matcher.push("END"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, GivesBackAPrefixThatCameToNothing) {
  StopMatcher matcher({"stop"});
  EXPECT_EQ(matcher.push("sto"), "");
  EXPECT_FALSE(matcher.matched());
  EXPECT_EQ(matcher.finish(), "sto");
}

TEST(StopMatcher, TheOneThatEndsFirstCounts) {
  bool matched = false;
  EXPECT_EQ(all_at_once({"abcd", "bc"}, "xabcdy", &matched), "xa");
  EXPECT_TRUE(matched);
  EXPECT_EQ(all_at_once({"bc", "abc"}, "xabcdy", &matched), "x");
  EXPECT_TRUE(matched);
}

TEST(StopMatcher, WithoutStopsEverythingPasses) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_EQ(matcher.finish(), "");
}

// Texts over two letters are full of near misses; every cut must give what one push gives, and that
// must be what a search by hand gives.
TEST(StopMatcher, DoesNotDependOnTheCuts) {
  const std::vector<std::vector<std::string>> stop_sets = {
      {"aab"}, {"abab", "bba"}, {"aaaa"}, {"ab", "abb", "b"}, {"babab", "ab"}};
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    const std::vector<std::string>& stops = stop_sets[seed % stop_sets.size()];
    std::string text;
    for (uint64_t i = 0; i < 14; ++i) text += random_uniform(seed, i) < 0.6 ? 'a' : 'b';

    std::string expected = text;
    bool expected_match = false;
    for (size_t end = 1; end <= text.size() && !expected_match; ++end) {
      size_t begin = std::string::npos;
      for (const std::string& stop : stops)
        if (end >= stop.size() && text.compare(end - stop.size(), stop.size(), stop) == 0)
          begin = std::min(begin, end - stop.size());
      if (begin == std::string::npos) continue;
      expected = text.substr(0, begin);
      expected_match = true;
    }

    bool matched = false;
    EXPECT_EQ(all_at_once(stops, text, &matched), expected);
    EXPECT_EQ(matched, expected_match);
    StopMatcher cut(stops);
    std::string out;
    for (size_t i = 0, n = 0; i < text.size(); i += n) {
      n = 1 + random_bits(seed, 100 + i) % 3;
      out += cut.push(std::string_view(text).substr(i, n));
    }
    EXPECT_EQ(cut.matched(), expected_match);
    EXPECT_EQ(out + cut.finish(), expected);
  }
}

}  // namespace
}  // namespace hlwq
