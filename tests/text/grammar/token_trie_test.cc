#include "text/grammar/token_trie.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "tests/text/grammar/grammar_test_support.h"
#include "tests/text/text_test_support.h"

namespace hlwq {
namespace {

Tokenizer tiny_tokenizer() {
  auto tokenizer = Tokenizer::open(HLWQ_SOURCE_DIR "/models/tiny-nemotron-h");
  EXPECT_TRUE(tokenizer) << tokenizer.error().message;
  return std::move(*tokenizer);
}

bool bit(const std::vector<uint64_t>& mask, int32_t id) {
  return (mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
}

// Every bit of the mask against advance() of a copy.
void expect_exact(const TokenTrie& trie, const Tokenizer& tokenizer, const GrammarState& state,
                  const std::string& text) {
  std::vector<uint64_t> mask(trie.mask_words(), ~uint64_t{0});
  ASSERT_TRUE(trie.allowed(state, mask));
  for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    GrammarState copy = state;
    const bool want = !tokenizer.is_special(id) && !tokenizer.bytes(id).empty() &&
                      copy.advance(tokenizer.bytes(id));
    ASSERT_EQ(bit(mask, id), want) << "id " << id << " after " << text;
    ASSERT_EQ(trie.accepts(state, id), want) << "id " << id << " after " << text;
  }
}

constexpr const char* kSchemas[] = {
    R"({})",
    R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,
        "maximum":150},"tags":{"type":"array","items":{"enum":["red","green","blue"]},"maxItems":3}},
        "required":["name","age"],"additionalProperties":false})",
    R"({"type":"string","pattern":"^[a-z]{3,9} (one|two)$"})",
    R"({"type":"string","maxLength":12})",
};

TEST(TokenTrie, MasksAreExact) {
  const Tokenizer tokenizer = tiny_tokenizer();
  const TokenTrie trie(tokenizer);
  EXPECT_EQ(trie.vocabulary_size(), tokenizer.vocabulary_size());
  for (const char* schema : kSchemas) {
    for (uint64_t seed = 0; seed < 3; ++seed) {
      GrammarState state = GrammarState::start(grammar_of(schema));
      std::string text;
      for (uint64_t turn = 0; turn < 40 && !state.must_end(); ++turn) {
        if (turn % 4 == 0) expect_exact(trie, tokenizer, state, text);
        std::vector<uint64_t> mask(trie.mask_words());
        ASSERT_TRUE(trie.allowed(state, mask));
        std::vector<int32_t> ids;
        for (int32_t id = 0; id < trie.vocabulary_size(); ++id) {
          if (bit(mask, id)) ids.push_back(id);
        }
        ASSERT_FALSE(ids.empty()) << text;
        const int32_t id = ids[random_bits(seed, turn) % ids.size()];
        ASSERT_TRUE(state.advance(tokenizer.bytes(id)));
        text += tokenizer.bytes(id);
      }
    }
  }
}

TEST(TokenTrie, TokensOfATextAreAllowedOneByOne) {
  const Tokenizer tokenizer = tiny_tokenizer();
  const TokenTrie trie(tokenizer);
  const std::string text = R"({"name": "Ada é€😀", "age": 36, "tags": ["red", "blue"]})";
  GrammarState state = GrammarState::start(grammar_of(kSchemas[1]));
  std::vector<uint64_t> mask(trie.mask_words());
  for (const int32_t id : ids_of(tokenizer, text, {.add_special = false})) {
    ASSERT_TRUE(trie.allowed(state, mask));
    EXPECT_TRUE(bit(mask, id)) << tokenizer.bytes(id);
    EXPECT_FALSE(state.can_end());
    ASSERT_TRUE(state.advance(tokenizer.bytes(id)));
  }
  EXPECT_TRUE(state.must_end());
  ASSERT_TRUE(trie.allowed(state, mask));
  for (const uint64_t word : mask) EXPECT_EQ(word, 0u);
}

TEST(TokenTrie, SpecialTokensAreLeftOutAndAddedOnesAreNot) {
  // 260 and 261 are special, 262 "<t>" is added.
  const Tokenizer tokenizer = make_tokenizer(small_tokenizer_json());
  const TokenTrie trie(tokenizer);
  GrammarBuilder builder;
  const auto grammar = builder.build(builder.text_until("!"));
  ASSERT_TRUE(grammar);
  const GrammarState state = GrammarState::start(*grammar);
  std::vector<uint64_t> mask(trie.mask_words());
  ASSERT_TRUE(trie.allowed(state, mask));
  EXPECT_TRUE(bit(mask, 'a'));
  EXPECT_TRUE(bit(mask, 257));
  EXPECT_FALSE(bit(mask, 260));
  EXPECT_FALSE(bit(mask, 261));
  EXPECT_TRUE(bit(mask, 262));
  EXPECT_TRUE(bit(mask, 0xC3));  // the first half of a character
  EXPECT_FALSE(bit(mask, 0x80));
  EXPECT_FALSE(trie.accepts(state, -1));
  EXPECT_FALSE(trie.accepts(state, trie.vocabulary_size()));
  EXPECT_FALSE(trie.accepts(state, 260));
}

TEST(TokenTrie, TellsWhenAMaskIsIncomplete) {
  const Tokenizer tokenizer = tiny_tokenizer();
  const TokenTrie trie(tokenizer);
  GrammarBuilder builder;
  const GrammarNode word =
      builder.repeat(builder.repeat(builder.byte_range('a', 'z'), 1, 5000), 1, 5000);
  const auto grammar = builder.build(word);
  ASSERT_TRUE(grammar);
  GrammarState state = GrammarState::start(*grammar);
  while (state.advance("a")) {
  }
  ASSERT_TRUE(state.too_complex());
  std::vector<uint64_t> mask(trie.mask_words());
  EXPECT_FALSE(trie.allowed(state, mask));
}

}  // namespace
}  // namespace hlwq
