// Files that lie: each gives the right error, naming the file and the field.

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "tests/text/text_test_support.h"
#include "text/tokenizer.h"

namespace hlwq {
namespace {

using Json = nlohmann::json;

struct Hostile {
  const char* name;
  ErrorCode code;
  const char* field;  // the message must hold it
  std::function<void(Json&)> spoil;
};

void PrintTo(const Hostile& hostile, std::ostream* out) { *out << hostile.name; }

class HostileTokenizer : public testing::TestWithParam<Hostile> {};

TEST_P(HostileTokenizer, IsAnErrorThatNamesTheField) {
  Json json = small_tokenizer_json();
  ASSERT_TRUE(Tokenizer::parse(json.dump(), "f.json"));
  GetParam().spoil(json);
  const auto tokenizer = Tokenizer::parse(json.dump(), "dir/f.json");
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, GetParam().code) << tokenizer.error().message;
  EXPECT_EQ(tokenizer.error().message.find("dir/f.json"), 0u) << tokenizer.error().message;
  EXPECT_NE(tokenizer.error().message.find(GetParam().field), std::string::npos)
      << tokenizer.error().message;
}

Json added(Json id, Json content) { return {{"id", id}, {"content", content}}; }

constexpr ErrorCode kBadHeader = ErrorCode::kBadHeader;
constexpr ErrorCode kBadLayout = ErrorCode::kBadLayout;
constexpr ErrorCode kUnsupported = ErrorCode::kUnsupported;

const std::vector<Hostile> kCases = {
    {"not_an_object", kBadHeader, "document", [](Json& j) { j = Json::array(); }},
    {"no_model", kBadHeader, "model", [](Json& j) { j.erase("model"); }},
    {"no_pre_tokenizer", kBadHeader, "pre_tokenizer",
     [](Json& j) { j["pre_tokenizer"] = nullptr; }},
    {"no_decoder", kBadHeader, "decoder", [](Json& j) { j.erase("decoder"); }},
    {"other_decoder", kUnsupported, "decoder", [](Json& j) { j["decoder"]["type"] = "WordPiece"; }},
    {"two_decoders", kUnsupported, "decoder",
     [](Json& j) {
       j["decoder"] = {{"type", "Sequence"}, {"decoders", {j["decoder"], j["decoder"]}}};
     }},
    {"normalizer", kUnsupported, "normalizer.normalizers[1]",
     [](Json& j) {
       j["normalizer"] = {{"type", "Sequence"},
                          {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}};
     }},
    {"unigram", kUnsupported, "model.type", [](Json& j) { j["model"]["type"] = "Unigram"; }},
    {"dropout", kUnsupported, "model.dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }},
    {"prefix", kUnsupported, "model.continuing_subword_prefix",
     [](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; }},
    {"suffix", kUnsupported, "model.end_of_word_suffix",
     [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }},
    {"byte_fallback", kUnsupported, "model.byte_fallback",
     [](Json& j) { j["model"]["byte_fallback"] = true; }},
    {"vocab_array", kBadHeader, "model.vocab",
     [](Json& j) { j["model"]["vocab"] = Json::array(); }},
    {"no_merges", kBadHeader, "model.merges", [](Json& j) { j["model"].erase("merges"); }},
    {"id_text", kBadHeader, "model.vocab", [](Json& j) { j["model"]["vocab"]["ab"] = "256"; }},
    {"id_fraction", kBadHeader, "\"ab\"", [](Json& j) { j["model"]["vocab"]["ab"] = 256.5; }},
    {"id_negative", kBadLayout, "\"ab\"", [](Json& j) { j["model"]["vocab"]["ab"] = -1; }},
    {"id_huge", kBadLayout, "\"ab\"", [](Json& j) { j["model"]["vocab"]["ab"] = 4194304; }},
    {"id_2_64", kBadLayout, "\"ab\"",
     [](Json& j) { j["model"]["vocab"]["ab"] = 18446744073709551615u; }},
    {"id_twice", kBadLayout, "id 256",
     [](Json& j) { j["model"]["vocab"]["b"] = j["model"]["vocab"]["ab"]; }},
    {"byte_missing", kUnsupported, "0x41", [](Json& j) { j["model"]["vocab"].erase("A"); }},
    {"control_byte_missing_beside_unknown", kUnsupported, "0x04",
     [](Json& j) {
       j["model"]["vocab"].erase("\u0104");
       j["model"]["unk_token"] = "<s>";
     }},
    {"newline_missing", kUnsupported, "0x0A", [](Json& j) { j["model"]["vocab"].erase("\u010A"); }},
    {"merge_unknown", kBadLayout, "model.merges[4]",
     [](Json& j) { j["model"]["merges"].push_back("zz y"); }},
    {"merge_to_unknown", kBadLayout, "\"zy\"",
     [](Json& j) { j["model"]["merges"].push_back("z y"); }},
    {"merge_raw", kBadLayout, "model.merges[4]",
     [](Json& j) {
       j["model"]["merges"].push_back({"a b", "c"});
     }},
    {"merge_three", kBadHeader, "model.merges[4]",
     [](Json& j) { j["model"]["merges"].push_back("a b c"); }},
    {"merge_number", kBadHeader, "model.merges[0]", [](Json& j) { j["model"]["merges"][0] = 7; }},
    {"merge_pair_of_numbers", kBadHeader, "model.merges[0]",
     [](Json& j) {
       j["model"]["merges"][0] = {1, 2};
     }},
    {"ignore_merges_text", kBadHeader, "model.ignore_merges",
     [](Json& j) { j["model"]["ignore_merges"] = "true"; }},
    {"added_object", kBadHeader, "added_tokens",
     [](Json& j) { j["added_tokens"] = Json::object(); }},
    {"added_without_id", kBadHeader, "added_tokens[3]",
     [](Json& j) {
       j["added_tokens"].push_back({{"content", "x"}});
     }},
    {"added_negative", kBadLayout, "added_tokens[3].id",
     [](Json& j) { j["added_tokens"].push_back(added(-5, "x")); }},
    {"added_empty", kUnsupported, "added_tokens[3].content",
     [](Json& j) { j["added_tokens"].push_back(added(300, "")); }},
    {"added_long", kUnsupported, "added_tokens[3].content",
     [](Json& j) { j["added_tokens"].push_back(added(300, std::string(5000, 'x'))); }},
    {"added_content_twice", kBadLayout, "\"<s>\"",
     [](Json& j) { j["added_tokens"].push_back(added(300, "<s>")); }},
    {"added_id_twice", kBadLayout, "260",
     [](Json& j) { j["added_tokens"].push_back(added(260, "<u>")); }},
    {"added_id_of_model", kBadLayout, "256",
     [](Json& j) { j["added_tokens"].push_back(added(256, "<u>")); }},
    {"added_other_id_than_model", kBadLayout, "\"ab\"",
     [](Json& j) { j["added_tokens"].push_back(added(300, "ab")); }},
    {"added_same_after_nfc", kBadLayout, "normalization",
     [](Json& j) {
       j["normalizer"] = {{"type", "NFC"}};
       j["added_tokens"].push_back(added(300, "<\u00E9>"));
       j["added_tokens"].push_back(added(301, "<e\u0301>"));
     }},
    {"template_id_unknown", kBadLayout, "post_processor",
     [](Json& j) {
       j["post_processor"] = {
           {"type", "TemplateProcessing"},
           {"single", {{{"SpecialToken", {{"id", "x"}}}}, {{"Sequence", {{"id", "A"}}}}}},
           {"special_tokens", {{"x", {{"ids", {5000}}}}}}};
     }},
};

INSTANTIATE_TEST_SUITE_P(All, HostileTokenizer, testing::ValuesIn(kCases),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

TEST(HostileJson, IsAnErrorThatNamesTheFile) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  for (const std::string& text :
       {std::string(), std::string("{\"model\": "), deep,
        std::string(R"({"model": 1, "model": 2})"), std::string("{\"a\": \"\xFF\"}"),
        "{\"normalizer\": " + deep + "}"}) {
    const auto tokenizer = Tokenizer::parse(text, "dir/f.json");
    ASSERT_FALSE(tokenizer);
    EXPECT_EQ(tokenizer.error().code, kBadHeader);
    EXPECT_EQ(tokenizer.error().message.find("dir/f.json"), 0u) << tokenizer.error().message;
  }
}

TEST(HostileJson, GapsInTheIdsAreAllowed) {
  Json json = small_tokenizer_json();
  json["added_tokens"].push_back(added(4'000'000, "<far>"));
  const Tokenizer tokenizer = make_tokenizer(json);
  EXPECT_EQ(ids_of(tokenizer, "<far>"), std::vector<int32_t>{4'000'000});
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{3'999'999, 4'000'000}), "<far>");
}

}  // namespace
}  // namespace hlwq
