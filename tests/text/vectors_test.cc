// Real tokenizers against the ids that other programs compute; sources in the archive's README.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "tests/text/text_test_support.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace hlwq {
namespace {

struct RealTokenizer {
  const char* name;
  size_t vectors;
  size_t not_decoded_back;  // NFC changes the text
  int32_t vocabulary;
  std::optional<int32_t> bos;
};

class Vectors : public testing::TestWithParam<RealTokenizer> {};

TEST_P(Vectors, EncodeAndDecode) {
  const RealTokenizer& real = GetParam();
  const std::string folder = std::string("tokenizers/") + real.name;
  const auto tokenizer = Tokenizer::open(test_data(folder));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->vocabulary_size(), real.vocabulary);
  EXPECT_EQ(tokenizer->bos(), real.bos);

  const auto vectors = read_test_lines(folder + "/vectors.jsonl");
  EXPECT_EQ(vectors.size(), real.vectors);
  size_t not_decoded_back = 0;
  for (const auto& vector : vectors) {
    const std::string text = vector.at("text");
    const std::vector<int32_t> want = vector.at("ids");
    const auto got = tokenizer->encode(text, {.add_special = false});
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(*got, want) << "text: " << vector.at("text").dump();
    // Once more with whatever the first call left in the cache.
    EXPECT_EQ(ids_of(*tokenizer, text, {.add_special = false}), want);

    const std::string decoded = tokenizer->decode(want);
    if (decoded != text) ++not_decoded_back;
    StreamDecoder stream(*tokenizer);
    std::string streamed;
    for (const int32_t id : want) streamed += stream.push(id);
    EXPECT_EQ(streamed + stream.finish(), decoded);
  }
  EXPECT_EQ(not_decoded_back, real.not_decoded_back);
}

INSTANTIATE_TEST_SUITE_P(Real, Vectors,
                         testing::Values(RealTokenizer{"nemotron-3", 239, 0, 131072, {}},
                                         RealTokenizer{"llama-3", 259, 0, 128256, 128000},
                                         RealTokenizer{"deepseek-v3", 212, 0, 128815, 0},
                                         RealTokenizer{"gpt-neox", 212, 20, 50277, {}}),
                         [](const auto& parameter) {
                           std::string name = parameter.param.name;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace hlwq
