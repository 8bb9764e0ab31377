#include "text/grammar/grammar.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/random.h"
#include "tests/text/grammar/grammar_test_support.h"

namespace hlwq {
namespace {

Grammar built(GrammarBuilder& builder, GrammarNode root) {
  auto grammar = builder.build(root);
  EXPECT_TRUE(grammar) << grammar.error().message;
  return *grammar;
}

TEST(Grammar, CombinatorsMatchWhatTheySay) {
  GrammarBuilder b;
  const Grammar grammar =
      built(b, b.sequence({b.literal("ab"), b.repeat(b.one_of({"x", "yy", "yz"}), 1, 3),
                           b.optional(b.byte_range('0', '9')), b.literal("!")}));
  for (const char* text : {"abx!", "abyy!", "abyzxx!", "abx7!"})
    EXPECT_TRUE(accepts(grammar, text));
  for (const char* text : {"", "ab!", "abxxxx!", "aby!", "abx77!", "abx", "abx!!"}) {
    EXPECT_FALSE(accepts(grammar, text)) << text;
  }
}

TEST(Grammar, AdvanceTakesAllOrNothing) {
  GrammarBuilder b;
  GrammarState state = GrammarState::start(built(b, b.literal("hello")));
  EXPECT_TRUE(state.advance("he"));
  EXPECT_FALSE(state.advance("lx"));
  EXPECT_TRUE(state.accepts("llo"));
  EXPECT_TRUE(state.advance(""));
  EXPECT_FALSE(state.can_end());
  EXPECT_TRUE(state.advance("llo"));
  EXPECT_TRUE(state.can_end());
  EXPECT_TRUE(state.must_end());
  EXPECT_FALSE(state.advance("o"));
  EXPECT_FALSE(state.too_complex());
}

TEST(Grammar, CopiesGoTheirOwnWay) {
  GrammarBuilder b;
  GrammarState one = GrammarState::start(built(b, b.one_of({"aab", "aac"})));
  ASSERT_TRUE(one.advance("aa"));
  GrammarState two = one;
  EXPECT_TRUE(two.advance("b"));
  EXPECT_TRUE(two.must_end());
  EXPECT_TRUE(one.advance("c"));
  two = one;
  EXPECT_TRUE(two.can_end());
}

TEST(Grammar, RecursionNestsUpToTheLimit) {
  GrammarBuilder b(GrammarLimits{.nesting = 5});
  const GrammarNode rule = b.rule();
  b.define(rule,
           b.alternatives({b.literal("x"), b.nested({b.literal("("), rule, b.literal(")")})}));
  const Grammar grammar = built(b, rule);
  EXPECT_TRUE(accepts(grammar, "x"));
  EXPECT_TRUE(accepts(grammar, "(((((x)))))"));
  GrammarState state = GrammarState::start(grammar);
  EXPECT_TRUE(state.advance("((((("));
  EXPECT_FALSE(state.advance("("));  // there would be no way back
  EXPECT_TRUE(state.advance("x)))))"));
}

TEST(Grammar, CountedRepeatsAreOneNode) {
  GrammarBuilder b;
  GrammarNode node = b.literal("a");
  for (int i = 0; i < 2; ++i) node = b.repeat(node, 1000, 1000);
  GrammarState state = GrammarState::start(built(b, node));
  const std::string stretch(999'999, 'a');
  ASSERT_TRUE(state.advance(stretch));
  EXPECT_FALSE(state.can_end());
  ASSERT_TRUE(state.advance("a"));
  EXPECT_TRUE(state.must_end());
}

TEST(Grammar, RepeatsOfWhatCanBeEmpty) {
  GrammarBuilder b;
  const GrammarNode maybe = b.optional(b.literal("a"));
  const GrammarNode inner =
      b.sequence({maybe, b.repeat(b.literal("b"), 0, 2), b.repeat(maybe, 2, 3)});
  const Grammar grammar = built(b, b.sequence({b.repeat(inner, 3, 4), b.repeat(maybe, 0)}));
  EXPECT_TRUE(accepts(grammar, ""));
  EXPECT_TRUE(accepts(grammar, "abbaaa"));
  EXPECT_TRUE(accepts(grammar, "bbbbbbbb"));
  EXPECT_FALSE(accepts(grammar, "bbbbbbbbb"));
}

TEST(Grammar, UnitCirclesAreNoHang) {
  GrammarBuilder b;
  const GrammarNode one = b.rule();
  const GrammarNode two = b.rule();
  b.define(one, b.alternatives({two, b.literal("x")}));
  b.define(two, b.alternatives({one, b.repeat(b.optional(b.literal("y")), 0)}));
  const Grammar grammar = built(b, one);
  EXPECT_TRUE(accepts(grammar, "x"));
  EXPECT_TRUE(accepts(grammar, "yyy"));
  EXPECT_FALSE(accepts(grammar, "xy"));
}

TEST(Grammar, BuildRefusesWhatCannotRun) {
  const auto refused = [](GrammarBuilder& b, GrammarNode root) {
    const auto grammar = b.build(root);
    EXPECT_FALSE(grammar);
    return grammar ? ErrorCode::kInternal : grammar.error().code;
  };
  GrammarBuilder b;
  GrammarNode rule = b.rule();
  b.define(rule, b.alternatives({b.sequence({rule, b.literal("x")}), b.literal("y")}));
  EXPECT_EQ(refused(b, rule), ErrorCode::kUnsupported);  // left recursion

  rule = b.rule();
  b.define(rule, b.sequence({b.optional(b.literal("a")), rule, b.literal("x")}));
  EXPECT_EQ(refused(b, rule), ErrorCode::kUnsupported);  // behind what can be empty

  rule = b.rule();
  b.define(rule, b.sequence({b.literal("a"), rule}));
  EXPECT_EQ(refused(b, rule), ErrorCode::kInvalidArgument);  // never ends

  rule = b.rule();
  b.define(rule, b.optional(b.literal("a")));
  EXPECT_EQ(refused(b, b.repeat(rule, 2, 4)), ErrorCode::kUnsupported);

  EXPECT_EQ(refused(b, b.never()), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused(b, b.rule()), ErrorCode::kInternal);
  EXPECT_EQ(refused(b, b.repeat(b.literal("x"), 0, kMostRepeats + 1)), ErrorCode::kUnsupported);

  GrammarBuilder small(GrammarLimits{.nodes = 10});
  std::vector<GrammarNode> nodes;
  for (int i = 0; i < 20; ++i) nodes.push_back(small.literal(std::to_string(i)));
  EXPECT_TRUE(small.full());
  EXPECT_EQ(refused(small, small.alternatives(nodes)), ErrorCode::kUnsupported);
  GrammarBuilder short_of_bytes(GrammarLimits{.bytes = 100});
  EXPECT_EQ(refused(short_of_bytes, short_of_bytes.literal(std::string(101, 'x'))),
            ErrorCode::kUnsupported);
}

TEST(Grammar, TooManyStacksAreReportedAndRefused) {
  // Which of the x? an x was taken for stays open, for each of many counts.
  GrammarBuilder b;
  GrammarNode node = b.repeat(b.repeat(b.literal("x"), 1, 5000), 1, 5000);
  GrammarState state = GrammarState::start(built(b, node));
  const auto begin = std::chrono::steady_clock::now();
  size_t taken = 0;
  while (taken < 2000 && state.advance("x")) ++taken;
  EXPECT_GT(taken, 50u);
  EXPECT_LT(taken, 2000u);
  EXPECT_TRUE(state.too_complex());
  EXPECT_TRUE(state.can_end());  // where it stood before
  EXPECT_FALSE(state.advance("y") || state.too_complex());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(Grammar, TextUntilItsTerminator) {
  GrammarBuilder b;
  const Grammar grammar = built(b, b.sequence({b.text_until("\n</p>"), b.literal(".")}));
  for (const char* text : {"\n</p>.", "a\n</p>.", "\n\n</p>.", "a\n</\n</p>.", "é€😀\t\n</p>."}) {
    EXPECT_TRUE(accepts(grammar, text)) << text;
  }
  for (const char* text :
       {"a\n</p>", "a\n</p>b\n</p>.", "a\x01\n</p>.", "\xC3\n</p>.", "\xED\xA0\x80\n</p>.",
        "\xF4\x90\x80\x80\n</p>.", "\xE0\x80\x80\n</p>."}) {
    EXPECT_FALSE(accepts(grammar, text)) << text;
  }
}

TEST(Grammar, TextUntilCountsCodePoints) {
  GrammarBuilder b;
  const Grammar grammar = built(b, b.text_until("::", 2, 3));
  for (const char* text : {"ab::", "abc::", "a:b::", "é€::", "€é😀::", ":a:::"}) {
    EXPECT_EQ(accepts(grammar, text), std::string_view(text) != ":a:::") << text;
  }
  for (const char* text : {"a::", "abcd::", "::", "é::", "a:bc::", ":abc::", "ab:c::"}) {
    EXPECT_FALSE(accepts(grammar, text)) << text;
  }
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::string text = random_text(grammar, seed);
    EXPECT_TRUE(text.ends_with("::")) << text;
    EXPECT_EQ(text.find("::"), text.size() - 2) << text;
  }
}

// A slow matcher of the same nodes, by derivatives of the definition: every way to split a text.
TEST(Grammar, RandomGrammarsAgreeWithTheirSets) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    GrammarBuilder b;
    uint64_t counter = 0;
    const auto draw = [&](uint64_t below) { return random_bits(seed, counter++) % below; };
    struct Entry {
      GrammarNode node;
      std::vector<std::string> texts;  // sorted, of at most 6 bytes
    };
    const auto tidy = [](std::vector<std::string> texts) {
      std::erase_if(texts, [](const std::string& text) { return text.size() > 6; });
      std::sort(texts.begin(), texts.end());
      texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
      return texts;
    };
    const auto join = [&](const std::vector<std::string>& a, const std::vector<std::string>& c) {
      std::vector<std::string> texts;
      for (const auto& x : a) {
        for (const auto& y : c) texts.push_back(x + y);
      }
      return tidy(texts);
    };
    std::vector<Entry> entries = {{b.literal("a"), {"a"}},
                                  {b.literal("b"), {"b"}},
                                  {b.literal("ab"), {"ab"}},
                                  {b.empty(), {""}}};
    for (int i = 0; i < 8; ++i) {
      const Entry x = entries[draw(entries.size())];
      const Entry y = entries[draw(entries.size())];
      switch (draw(3)) {
        case 0:
          entries.push_back({b.sequence({x.node, y.node}), join(x.texts, y.texts)});
          break;
        case 1: {
          std::vector<std::string> both = x.texts;
          both.insert(both.end(), y.texts.begin(), y.texts.end());
          entries.push_back({b.alternatives({x.node, y.node}), tidy(both)});
          break;
        }
        default: {
          const uint32_t least = static_cast<uint32_t>(draw(3));
          const uint32_t most = draw(3) == 0 ? kUnlimited : least + static_cast<uint32_t>(draw(3));
          std::vector<std::string> turn = {""};
          std::vector<std::string> texts;
          for (uint32_t count = 0; count <= std::min(most, 9u); ++count) {
            if (count >= least) texts.insert(texts.end(), turn.begin(), turn.end());
            turn = join(turn, x.texts);
          }
          entries.push_back({b.repeat(x.node, least, most), tidy(texts)});
        }
      }
    }
    const Entry last = entries.back();
    if (last.texts.empty()) continue;
    const Grammar grammar = built(b, last.node);
    for (int length = 0; length <= 6; ++length) {
      for (int bits = 0; bits < 1 << length; ++bits) {
        std::string text;
        for (int i = 0; i < length; ++i) text += (bits >> i & 1) != 0 ? 'b' : 'a';
        const bool want = std::binary_search(last.texts.begin(), last.texts.end(), text);
        ASSERT_EQ(accepts(grammar, text), want) << "seed " << seed << " text " << text;
      }
    }
  }
}

}  // namespace
}  // namespace hlwq
