#include "text/added_tokens.h"

#include <gtest/gtest.h>

#include <random>

namespace hlwq {
namespace {

using Parts = std::vector<std::pair<std::string, int32_t>>;  // text, id or -1

Parts split(std::vector<AddedToken> tokens, std::string_view text,
            const std::vector<ByteRange>& plain = {}) {
  Parts parts;
  AddedTokenMatcher(std::move(tokens))
      .split(
          text,
          [&](std::string_view t, const AddedToken* token) {
            parts.emplace_back(t, token == nullptr ? -1 : token->id);
          },
          plain);
  return parts;
}

AddedToken token(int32_t id, std::string content) {
  AddedToken result;
  result.id = id;
  result.content = std::move(content);
  return result;
}

TEST(AddedTokens, LeftmostThenLongest) {
  const std::vector<AddedToken> tokens = {token(1, "ab"), token(2, "abcd"), token(3, "bcde"),
                                          token(4, "\u00E9")};
  EXPECT_EQ(split(tokens, "xabcdey"), (Parts{{"x", -1}, {"abcd", 2}, {"ey", -1}}));
  EXPECT_EQ(split(tokens, "abcxab"), (Parts{{"ab", 1}, {"cx", -1}, {"ab", 1}}));
  EXPECT_EQ(split(tokens, "\u00E9\u00EA"), (Parts{{"\u00E9", 4}, {"\u00EA", -1}}));
  EXPECT_EQ(split(tokens, ""), Parts{});
  EXPECT_EQ(split({}, "abc"), (Parts{{"abc", -1}}));
}

TEST(AddedTokens, RunsOfSpaces) {
  const std::vector<AddedToken> tokens = {token(2, "  "), token(3, "   ")};
  EXPECT_EQ(split(tokens, "a       b"), (Parts{{"a", -1}, {"   ", 3}, {"   ", 3}, {" b", -1}}));
}

TEST(AddedTokens, Strip) {
  AddedToken both = token(1, "<m>");
  both.lstrip = both.rstrip = true;
  EXPECT_EQ(split({both}, "a \u3000<m>\t\u00A0b"),
            (Parts{{"a", -1}, {" \u3000<m>\t\u00A0", 1}, {"b", -1}}));
  EXPECT_EQ(split({both}, " <m> <m> "), (Parts{{" <m> ", 1}, {"<m> ", 1}}));
  EXPECT_EQ(split({token(1, "<m>")}, " <m> "), (Parts{{" ", -1}, {"<m>", 1}, {" ", -1}}));
  // Found before stripping, as in the reference: the spaces are reported too.
  AddedToken right = token(1, "<m>");
  right.rstrip = true;
  EXPECT_EQ(split({right, token(2, "  ")}, "<m>  x"), (Parts{{"<m>  ", 1}, {"  ", 2}, {"x", -1}}));
}

TEST(AddedTokens, SingleWord) {
  AddedToken word = token(1, "ab");
  word.single_word = true;
  EXPECT_EQ(split({word}, "ab cab abc (ab) ab"),
            (Parts{{"ab", 1}, {" cab abc (", -1}, {"ab", 1}, {") ", -1}, {"ab", 1}}));
  EXPECT_EQ(split({word}, "ab\u0301"), (Parts{{"ab\u0301", -1}}));  // a mark is of the word
  EXPECT_EQ(split({word}, "\u24D0ab"), (Parts{{"\u24D0ab", -1}}));  // circled letter
  EXPECT_EQ(split({word}, "\u20ACab"), (Parts{{"\u20AC", -1}, {"ab", 1}}));
}

TEST(AddedTokens, PlainBytesHaveNoPartInTokens) {
  const std::vector<AddedToken> tokens = {token(1, "ab"), token(2, "abcd"), token(3, "bc")};
  EXPECT_EQ(split(tokens, "ababab", {{2, 4}}), (Parts{{"ab", 1}, {"ab", -1}, {"ab", 1}}));
  EXPECT_EQ(split(tokens, "ab", {{0, 1}}), (Parts{{"ab", -1}}));
  EXPECT_EQ(split(tokens, "ab", {{1, 2}}), (Parts{{"ab", -1}}));
  // A shorter token before them, and one that begins inside the longer one after them.
  EXPECT_EQ(split(tokens, "abcd", {{3, 4}}), (Parts{{"ab", 1}, {"cd", -1}}));
  EXPECT_EQ(split(tokens, "abcd", {{0, 1}}), (Parts{{"a", -1}, {"bc", 3}, {"d", -1}}));
  EXPECT_EQ(split(tokens, "abab", {{0, 1}, {1, 2}, {3, 4}}), (Parts{{"abab", -1}}));
  EXPECT_EQ(split(tokens, "xxab", {{0, 2}}), (Parts{{"xx", -1}, {"ab", 1}}));
  // Space is stripped all the same.
  AddedToken both = token(4, "<m>");
  both.lstrip = both.rstrip = true;
  EXPECT_EQ(split({both}, "a <m> <m>", {{0, 2}, {5, 9}}),
            (Parts{{"a", -1}, {" <m> ", 4}, {"<m>", -1}}));
}

// Against the definition, on texts over two letters.
TEST(AddedTokens, RandomAgainstNaive) {
  const unsigned seed = 20261122;
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::vector<AddedToken> tokens;
    for (int i = 0; i < 6; ++i) {
      std::string content;
      for (unsigned n = 1 + random() % 4; n > 0; --n) content += "ab"[random() % 2];
      bool is_new = true;
      for (const AddedToken& other : tokens) is_new = is_new && other.content != content;
      if (is_new) tokens.push_back(token(i, content));
    }
    std::string text;
    for (unsigned n = random() % 30; n > 0; --n) text += "abc"[random() % 3];
    Parts want;
    std::string plain;
    for (size_t at = 0; at < text.size();) {
      const AddedToken* best = nullptr;
      for (const AddedToken& t : tokens) {
        const bool longer = best == nullptr || t.content.size() > best->content.size();
        if (longer && text.compare(at, t.content.size(), t.content) == 0) best = &t;
      }
      if (best == nullptr) {
        plain += text[at++];
        continue;
      }
      if (!plain.empty()) want.emplace_back(std::exchange(plain, {}), -1);
      want.emplace_back(best->content, best->id);
      at += best->content.size();
    }
    if (!plain.empty()) want.emplace_back(plain, -1);
    ASSERT_EQ(split(tokens, text), want) << "seed " << seed << " round " << round;
  }
}

}  // namespace
}  // namespace hlwq
