#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "tests/text/text_test_support.h"

namespace hlwq {
namespace {

TEST(StreamDecoder, HoldsUnfinishedCharacters) {
  const Tokenizer tokenizer = make_tokenizer(small_tokenizer_json());
  StreamDecoder stream(tokenizer, true);
  EXPECT_EQ(stream.push(257), "abc");
  EXPECT_EQ(stream.push(0xF0), "");
  EXPECT_EQ(stream.push(0x9F), "");
  EXPECT_EQ(stream.push(260), "");  // special, skipped
  EXPECT_EQ(stream.push(0x98), "");
  EXPECT_EQ(stream.push(0x80), "\U0001F600");
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push('x'), "\uFFFDx");  // it will never be finished
  EXPECT_EQ(stream.push(0xE2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push(0xAC), "\uFFFD");  // nothing of before is left
}

TEST(StreamDecoder, RandomBytesAsDecodedAtOnce) {
  const Tokenizer tokenizer = make_tokenizer(small_tokenizer_json());
  const unsigned seed = 99;
  std::mt19937 random(seed);
  // Bytes that begin, continue and forbid: most sequences are almost characters.
  const std::vector<int32_t> bytes = {'a',  0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2, 0xE0,
                                      0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 260,  257};
  for (int round = 0; round < 5000; ++round) {
    std::vector<int32_t> ids;
    for (unsigned n = random() % 12; n > 0; --n) ids.push_back(bytes[random() % bytes.size()]);
    for (const bool skip_special : {false, true}) {
      StreamDecoder stream(tokenizer, skip_special);
      std::string text;
      for (const int32_t id : ids) text += stream.push(id);
      text += stream.finish();
      ASSERT_EQ(text, tokenizer.decode(ids, skip_special))
          << "seed " << seed << " round " << round << ": " << testing::PrintToString(ids);
    }
  }
}

}  // namespace
}  // namespace hlwq
