// Four tiny tokenizers against everything the reference library says about them.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/text/text_test_support.h"
#include "text/byte_level.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace hlwq {
namespace {

class TinyGoldens : public testing::TestWithParam<const char*> {};

TEST_P(TinyGoldens, Agree) {
  const std::string folder = std::string("tiny_tokenizers/") + GetParam();
  const auto tokenizer = Tokenizer::open(test_data(folder));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto json = read_test_json(folder + "/tokenizer.json");
  const auto splitter = PreTokenizer::from_json(json.at("pre_tokenizer"), "tokenizer.json");
  ASSERT_TRUE(splitter) << splitter.error().message;
  PatternScratch scratch;

  const auto goldens = read_test_json(folder + "/tokenizer_goldens.json");
  ASSERT_GT(goldens.at("cases").size(), 40u);
  for (const auto& golden : goldens.at("cases")) {
    const std::string text = golden.at("text");
    SCOPED_TRACE(golden.at("text").dump());
    const std::vector<int32_t> ids_special = golden.at("ids_special");
    EXPECT_EQ(ids_of(*tokenizer, text), ids_special);
    const std::vector<int32_t> ids = golden.at("ids");
    EXPECT_EQ(ids_of(*tokenizer, text, {.add_special = false}), ids);

    std::vector<std::string> pieces;
    ASSERT_TRUE(splitter->split(
        text, scratch, [&](std::string_view piece) { pieces.push_back(to_stand_ins(piece)); }));
    EXPECT_EQ(pieces, golden.at("pieces").get<std::vector<std::string>>());

    EXPECT_EQ(tokenizer->decode(ids, false), golden.at("decoded").get<std::string>());
    EXPECT_EQ(tokenizer->decode(ids_special, true), golden.at("decoded_skip").get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(All, TinyGoldens,
                         testing::Values("llama3_ignore", "llama3_merge", "tekken_ignore",
                                         "tekken_merge"),
                         [](const auto& parameter) { return std::string(parameter.param); });

}  // namespace
}  // namespace hlwq
