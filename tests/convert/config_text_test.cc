#include "convert/config_text.h"

#include <gtest/gtest.h>

namespace hlwq {
namespace {

TEST(ConfigText, AddsAKeyFirstAndKeepsTheRestByteForByte) {
  const std::string text = "{\n  \"a\": [0.0, Infinity],\n  \"b\": {\"quantization_config\": 1}\n}";
  const std::string with = with_top_level_key(text, "quantization_config", "{\"x\": 1}").value();
  EXPECT_EQ(with,
            "{\n  \"quantization_config\": {\"x\": 1},\n  \"a\": [0.0, Infinity],\n  \"b\": "
            "{\"quantization_config\": 1}\n}");
  EXPECT_EQ(without_top_level_key(with, "quantization_config").value(), text);
}

TEST(ConfigText, ReplacesAKeyWhereverItStands) {
  for (const char* text : {R"({"k": {"a": "}"}, "z": 1})", R"({"z": 1, "k": [1, "]"]})",
                           R"({ "z" : 1 , "k" : "a\"b," })"}) {
    const std::string with = with_top_level_key(text, "k", "2").value();
    EXPECT_NE(with.find("\"k\": 2"), std::string::npos) << with;
    EXPECT_EQ(with.find("a"), std::string::npos) << with;
    const std::string without = without_top_level_key(with, "k").value();
    EXPECT_EQ(without.find("\"k\""), std::string::npos) << without;
    EXPECT_NE(without.find("\"z\""), std::string::npos) << without;
  }
}

TEST(ConfigText, HandlesAnEmptyObjectAndRefusesOtherText) {
  EXPECT_EQ(with_top_level_key("{}", "k", "1").value(), "{\"k\": 1}");
  EXPECT_EQ(without_top_level_key("{\"k\": 1}", "k").value(), "{}");
  EXPECT_FALSE(with_top_level_key("[1]", "k", "1"));
  EXPECT_FALSE(with_top_level_key("", "k", "1"));
}

}  // namespace
}  // namespace hlwq
