#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "tests/text/text_test_support.h"

namespace hlwq {
namespace {

using Ids = std::vector<int32_t>;
using Json = nlohmann::json;

TEST(Tokenizer, MergesByRank) {
  const Tokenizer tokenizer = make_tokenizer(small_tokenizer_json());
  EXPECT_EQ(ids_of(tokenizer, "abc"), Ids{257});
  EXPECT_EQ(ids_of(tokenizer, "bcab"), (Ids{258, 256}));
  EXPECT_EQ(ids_of(tokenizer, "ab abc"), (Ids{256, ' ', 257}));  // a+b goes before space+a
  EXPECT_EQ(ids_of(tokenizer, " ac"), (Ids{259, 'c'}));
  EXPECT_EQ(ids_of(tokenizer, ""), Ids{});
}

TEST(Tokenizer, IgnoreMergesTakesWholePieces) {
  Json json = small_tokenizer_json();
  json["model"]["vocab"]["xyz"] = 263;  // no merge leads to it
  EXPECT_EQ(ids_of(make_tokenizer(json), "xyz"), (Ids{'x', 'y', 'z'}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(ids_of(make_tokenizer(json), "xyz"), Ids{263});
  EXPECT_EQ(ids_of(make_tokenizer(json), "xyza"), (Ids{'x', 'y', 'z', 'a'}));
}

TEST(Tokenizer, AddedTokensOnlyWhenAsked) {
  Json json = small_tokenizer_json();
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_EQ(ids_of(tokenizer, "ab<s>ab<t>"), (Ids{256, 260, 256, 262}));
  EXPECT_EQ(ids_of(tokenizer, "<s>", {.parse_added = false}), (Ids{'<', 's', '>'}));
  // Not by way of ignore_merges either: here the whole text is one piece.
  json["pre_tokenizer"]["use_regex"] = false;
  json["model"]["ignore_merges"] = true;
  json["model"]["vocab"]["<s>"] = 260;
  EXPECT_EQ(ids_of(make_tokenizer(json), "<s>", {.parse_added = false}), (Ids{'<', 's', '>'}));
  EXPECT_EQ(ids_of(make_tokenizer(json), "<s>"), Ids{260});
}

TEST(Tokenizer, PostProcessor) {
  Json json = small_tokenizer_json();
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<s>"}}}},
        {{"Sequence", {{"id", "A"}}}},
        {{"SpecialToken", {{"id", "</s>"}}}}}},
      {"special_tokens",
       {{"<s>", {{"id", "<s>"}, {"ids", {260}}}}, {"</s>", {{"id", "</s>"}, {"ids", {261}}}}}}};
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_EQ(ids_of(tokenizer, "ab"), (Ids{260, 256, 261}));
  EXPECT_EQ(ids_of(tokenizer, ""), (Ids{260, 261}));
  EXPECT_EQ(ids_of(tokenizer, "ab", {.add_special = false}), Ids{256});
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundAfterNormalization) {
  Json json = small_tokenizer_json();
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  json["added_tokens"].push_back({{"id", 263}, {"content", "[e\u0301]"}, {"normalized", true}});
  json["added_tokens"].push_back({{"id", 264}, {"content", "{e\u0301}"}, {"normalized", false}});
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_EQ(ids_of(tokenizer, "[\u00E9]"), Ids{263});
  EXPECT_EQ(ids_of(tokenizer, "[e\u0301]"), Ids{263});
  EXPECT_EQ(ids_of(tokenizer, "{e\u0301}"), Ids{264});
  EXPECT_EQ(ids_of(tokenizer, "{\u00E9}"), (Ids{'{', 0xC3, 0xA9, '}'}));
  EXPECT_EQ(ids_of(tokenizer, "e\u0301", {.parse_added = false}), (Ids{0xC3, 0xA9}));
  EXPECT_EQ(tokenizer.decode(Ids{263}), "[e\u0301]");  // its content as the file has it
}

TEST(Tokenizer, InvalidUtf8IsReadAsReplacementCharacters) {
  const Tokenizer tokenizer = make_tokenizer(small_tokenizer_json());
  EXPECT_EQ(ids_of(tokenizer, "a\xF0\x9F\x98z\xFF"),
            (Ids{'a', 0xEF, 0xBF, 0xBD, 'z', 0xEF, 0xBF, 0xBD}));
}

TEST(Tokenizer, Decode) {
  const Tokenizer tokenizer = make_tokenizer(small_tokenizer_json());
  EXPECT_EQ(tokenizer.decode(Ids{260, 257, 262, 259, 261}), "<s>abc<t> a</s>");
  EXPECT_EQ(tokenizer.decode(Ids{260, 257, 262, 259, 261}, true), "abc<t> a");
  EXPECT_EQ(tokenizer.decode(Ids{0xF0, 0x9F, 0x98, 0x80}), "\U0001F600");
  EXPECT_EQ(tokenizer.decode(Ids{0xF0, 0x9F, 'a'}), "\uFFFDa");
  // Bytes that meet after a special token was left out are one character.
  EXPECT_EQ(tokenizer.decode(Ids{0xC3, 260, 0xA9}, true), "\u00E9");
  EXPECT_EQ(tokenizer.decode(Ids{-1, 'a', 999, 1 << 30}), "a");
}

// As the Hugging Face library does without an unknown token.
TEST(Tokenizer, BytesWithoutATokenAreLeftOut) {
  Json json = small_tokenizer_json();
  for (const char* stand_in : {"\u0104", "\u00F2"}) json["model"]["vocab"].erase(stand_in);
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_EQ(ids_of(tokenizer, "a\x04z"), (Ids{'a', 'z'}));
  EXPECT_EQ(ids_of(tokenizer, "\x04"), Ids{});
  EXPECT_EQ(ids_of(tokenizer, "\xF2\x80\x80\x81"), (Ids{0x80, 0x80, 0x81}));
}

TEST(Tokenizer, TokensThatAreNotByteStandIns) {
  Json json = small_tokenizer_json();
  json["model"]["vocab"]["a b"] = 270;  // has a raw space: decodes to itself, never made of bytes
  json["model"]["ignore_merges"] = true;
  json["added_tokens"].push_back({{"id", 271}, {"content", "\n\t\x01"}});
  json["pre_tokenizer"]["use_regex"] = false;
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_EQ(ids_of(tokenizer, "a b"), (Ids{'a', ' ', 'b'}));
  EXPECT_EQ(tokenizer.decode(Ids{270}), "a b");
  EXPECT_EQ(ids_of(tokenizer, "x\n\t\x01"), (Ids{'x', 271}));
  EXPECT_EQ(tokenizer.decode(Ids{271}), "\n\t\x01");
}

TEST(Tokenizer, Questions) {
  const Tokenizer tokenizer = make_tokenizer(
      small_tokenizer_json(),
      {.bos_token = "<s>", .eos_token = "</s>", .unk_token = {}, .chat_template = "t"});
  EXPECT_EQ(tokenizer.vocabulary_size(), 263);
  EXPECT_EQ(tokenizer.id_of("<t>"), 262);
  EXPECT_EQ(tokenizer.id_of(" a"), 259);
  EXPECT_EQ(tokenizer.id_of("no"), std::nullopt);
  EXPECT_EQ(tokenizer.bytes(259), " a");
  EXPECT_EQ(tokenizer.bytes(263), "");
  EXPECT_EQ(tokenizer.bytes(-1), "");
  EXPECT_TRUE(tokenizer.is_special(260));
  EXPECT_FALSE(tokenizer.is_special(262));
  EXPECT_TRUE(tokenizer.is_added(262));
  EXPECT_FALSE(tokenizer.is_added(256));
  EXPECT_EQ(tokenizer.bos(), 260);
  EXPECT_EQ(tokenizer.eos(), 261);
  EXPECT_EQ(tokenizer.unk(), std::nullopt);
  EXPECT_EQ(tokenizer.chat_template(), "t");
}

TEST(Tokenizer, ConfigMustNameTokensThatExist) {
  const auto tokenizer = Tokenizer::parse(
      small_tokenizer_json().dump(), "dir/tokenizer.json",
      {.bos_token = {}, .eos_token = "<|end|>", .unk_token = {}, .chat_template = {}});
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kBadLayout);
  EXPECT_NE(tokenizer.error().message.find("<|end|>"), std::string::npos);
  EXPECT_NE(tokenizer.error().message.find("eos_token"), std::string::npos);
}

TEST(Tokenizer, OpenNamesTheMissingFile) {
  const auto tokenizer = Tokenizer::open("/nonexistent/tokenizer.json");
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kMissing);
  EXPECT_NE(tokenizer.error().message.find("/nonexistent/tokenizer.json"), std::string::npos);
}

TEST(Tokenizer, EncodesFromSeveralThreads) {
  const std::string folder = "tiny_tokenizers/tekken_merge";
  const auto tokenizer = Tokenizer::open(test_data(folder));
  ASSERT_TRUE(tokenizer);
  const Json goldens = read_test_json(folder + "/tokenizer_goldens.json");
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        for (const Json& golden : goldens.at("cases")) {
          const auto ids = tokenizer->encode(golden.at("text").get_ref<const std::string&>());
          if (!ids || *ids != golden.at("ids_special").get<Ids>()) ++count;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Tokenizer, PlainBytesGiveNoAddedTokens) {
  const Tokenizer tokenizer = make_tokenizer(small_tokenizer_json());
  const auto ids = [&](std::string_view text, std::vector<ByteRange> plain) {
    return ids_of(tokenizer, text, {.add_special = false, .plain = plain});
  };
  EXPECT_EQ(ids("<t>", {}), (std::vector<int32_t>{262}));
  EXPECT_EQ(ids("<t>", {{0, 3}}), (std::vector<int32_t>{'<', 't', '>'}));
  EXPECT_EQ(ids("<t><t>", {{3, 4}}), (std::vector<int32_t>{262, '<', 't', '>'}));
  EXPECT_EQ(ids("abc", {{1, 2}}), (std::vector<int32_t>{257}));  // pieces know no ranges
  for (const std::vector<ByteRange>& bad : std::vector<std::vector<ByteRange>>{
           {{0, 9}}, {{1, 1}}, {{2, 1}}, {{1, 2}, {0, 1}}, {{0, 2}, {1, 3}}}) {
    const auto refused = tokenizer.encode("abc", {.plain = bad});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  }
  const std::vector<ByteRange> half = {{0, 1}};
  EXPECT_FALSE(tokenizer.encode("\u00E9", {.plain = half}));
  EXPECT_FALSE(tokenizer.encode("a\xFF", {.plain = half}));
}

// Tokens that are looked for after normalization, in text that it changes.
TEST(Tokenizer, PlainBytesThroughNormalization) {
  nlohmann::json json = small_tokenizer_json();
  json["normalizer"] = {{"type", "NFC"}};
  json["added_tokens"][2]["normalized"] = true;
  const Tokenizer tokenizer = make_tokenizer(json);
  const std::vector<ByteRange> last = {{9, 12}};
  const std::string text = "<t>e\u0301<t><t>";
  const std::vector<int32_t> want = {262, 0xC3, 0xA9, 262, '<', 't', '>'};
  EXPECT_EQ(ids_of(tokenizer, text, {.add_special = false, .plain = last}), want);
}

}  // namespace
}  // namespace hlwq
