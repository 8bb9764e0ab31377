#include "text/pattern.h"

#include <gtest/gtest.h>

#include <vector>

namespace hlwq {
namespace {

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  auto compiled = Pattern::compile(pattern, "p");
  EXPECT_TRUE(compiled) << compiled.error().message;
  PatternScratch scratch;
  std::vector<std::string> found;
  Pattern::Match match;
  bool gave_up = false;
  for (size_t from = 0; compiled->find(text, from, scratch, match, gave_up); from = match.end) {
    found.emplace_back(text.substr(match.begin, match.end - match.begin));
  }
  EXPECT_FALSE(gave_up);
  return found;
}

using Strings = std::vector<std::string>;

TEST(Pattern, SpaceIsUnicodeWhiteSpace) {
  EXPECT_EQ(matches(R"(\s+)", "a \t\u00A0\u2003b\u0085c"), (Strings{" \t\u00A0\u2003", "\u0085"}));
  EXPECT_EQ(matches(R"(\s)", "\u180E\u200B"), Strings{});  // a space in PCRE2's \s
  EXPECT_EQ(matches(R"([^\s\p{L}]+)", "a1\u180E b"), Strings{"1\u180E"});
  EXPECT_EQ(matches(R"(\S+)", "a\u180E b"), (Strings{"a\u180E", "b"}));
}

TEST(Pattern, WordsHaveMarksAndConnectors) {
  EXPECT_EQ(matches(R"(\w+)", "e\u0301_\u203Fx-y"), (Strings{"e\u0301_\u203Fx", "y"}));
  EXPECT_EQ(matches(R"([\w-]+)", "e\u0301-x y"), (Strings{"e\u0301-x", "y"}));
  EXPECT_EQ(matches(R"(\W+)", "a -\u0301b"), Strings{" -"});
}

TEST(Pattern, OnigurumaReadings) {
  EXPECT_EQ(matches("^a$", "a\nb\na"), (Strings{"a", "a"}));  // lines
  EXPECT_EQ(matches(R"([\u4e00-\u9fa5]+)", "x\u4E2D\u6587y"), Strings{"\u4E2D\u6587"});
  EXPECT_EQ(matches("(?i:'s|'t)", "'S't'r"), (Strings{"'S", "'t"}));
  EXPECT_EQ(matches("[[:alpha:]\\]]+", "a\u00E9]1"), Strings{"a\u00E9]"});
  EXPECT_EQ(matches("\\\\s", "\\s "), Strings{"\\s"});  // an escaped backslash, then s
  EXPECT_EQ(matches("[]a]+", "a]b"), Strings{"a]"});
}

TEST(Pattern, RefusesWhatPcre2ReadsOtherwise) {
  for (const char* pattern :
       {R"(\h)", R"(\bx)", R"(a\Kb)", R"([\W])", "[a&&b]", "[a[b]]", "(*UTF)a", "(?C1)a", "(?m:.)",
        "(?ix)a", R"(\Qa\E)", R"(\u12)", "[[:alpha"}) {
    const auto compiled = Pattern::compile(pattern, "file: field");
    ASSERT_FALSE(compiled) << pattern;
    EXPECT_EQ(compiled.error().code, ErrorCode::kUnsupported) << pattern;
    EXPECT_EQ(compiled.error().message.find("file: field: "), 0u) << compiled.error().message;
  }
}

TEST(Pattern, BadPatternsAreErrors) {
  for (const char* pattern : {"(", "a{2,1}", "[z-a]", R"(\p{Nonsense})", "*"}) {
    const auto compiled = Pattern::compile(pattern, "file: field");
    ASSERT_FALSE(compiled) << pattern;
    EXPECT_EQ(compiled.error().code, ErrorCode::kBadHeader) << pattern;
  }
  EXPECT_FALSE(Pattern::compile(std::string(100'000, 'a'), "f"));
  EXPECT_FALSE(Pattern::compile_literal("", "f"));
}

TEST(Pattern, ExponentialPatternGivesUp) {
  const auto compiled = Pattern::compile("(a|aa|a[a])+$", "f");
  ASSERT_TRUE(compiled);
  PatternScratch scratch;
  Pattern::Match match;
  bool gave_up = false;
  EXPECT_FALSE(compiled->find(std::string(200, 'a') + "c", 0, scratch, match, gave_up));
  EXPECT_TRUE(gave_up);
}

}  // namespace
}  // namespace hlwq
