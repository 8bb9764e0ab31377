#include "text/post_processor.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace hlwq {
namespace {

using Json = nlohmann::json;

Json special(const char* name) { return {{"SpecialToken", {{"id", name}, {"type_id", 0}}}}; }
Json text_a() { return {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}; }

// Around the text: `before` and `after`, tokens named by their ids.
Json wrap(std::vector<Json> single) {
  Json tokens = Json::object();
  for (int id = 1; id <= 5; ++id) {
    tokens[std::to_string(id)] = {{"id", std::to_string(id)}, {"ids", {id}}};
  }
  tokens["two"] = {{"id", "two"}, {"ids", {8, 9}}};
  return {
      {"type", "TemplateProcessing"}, {"single", std::move(single)}, {"special_tokens", tokens}};
}

TEST(PostProcessor, Templates) {
  const auto one = PostProcessor::from_json(wrap({special("1"), text_a(), special("two")}), "f");
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->before, (std::vector<int32_t>{1}));
  EXPECT_EQ(one->after, (std::vector<int32_t>{8, 9}));
  // Later steps wrap what the earlier ones made.
  const Json nested = {{"type", "Sequence"},
                       {"processors",
                        {{{"type", "ByteLevel"}},
                         wrap({special("1"), text_a(), special("2")}),
                         wrap({special("3"), text_a(), special("4"), special("5")})}}};
  const auto both = PostProcessor::from_json(nested, "f");
  ASSERT_TRUE(both) << both.error().message;
  EXPECT_EQ(both->before, (std::vector<int32_t>{3, 1}));
  EXPECT_EQ(both->after, (std::vector<int32_t>{2, 4, 5}));
  EXPECT_TRUE(PostProcessor::from_json(nullptr, "f")->before.empty());
}

TEST(PostProcessor, Refuses) {
  const auto code = [](const Json& json) {
    const auto result = PostProcessor::from_json(json, "f.json");
    EXPECT_FALSE(result) << json;
    EXPECT_EQ(result.error().message.find("f.json: post_processor"), 0u) << result.error().message;
    return result.error().code;
  };
  EXPECT_EQ(code({{"type", "BertProcessing"}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code(wrap({special("1")})), ErrorCode::kBadLayout);
  EXPECT_EQ(code(wrap({text_a(), text_a()})), ErrorCode::kBadLayout);
  EXPECT_EQ(code(wrap({special("unknown"), text_a()})), ErrorCode::kBadHeader);
  EXPECT_EQ(code(wrap({"A"})), ErrorCode::kBadHeader);
  Json bad_ids = wrap({special("1"), text_a()});
  bad_ids["special_tokens"]["1"]["ids"] = {-1};
  EXPECT_EQ(code(bad_ids), ErrorCode::kBadLayout);
  EXPECT_EQ(code({{"type", "TemplateProcessing"}}), ErrorCode::kBadHeader);
}

}  // namespace
}  // namespace hlwq
