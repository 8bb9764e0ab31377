#include "text/tokenizer_config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace hlwq {
namespace {

TEST(TokenizerConfig, TokensAsStringsAndObjects) {
  const auto config = TokenizerConfig::parse(
      R"({"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "unk_token": null,
          "model_max_length": 1e30, "chat_template": "x"})",
      "f");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->bos_token, "<s>");
  EXPECT_EQ(config->eos_token, "</s>");
  EXPECT_EQ(config->unk_token, std::nullopt);
  EXPECT_EQ(config->chat_template, "x");
}

TEST(TokenizerConfig, NamedTemplates) {
  const auto config = TokenizerConfig::parse(
      R"({"chat_template": [{"name": "tool_use", "template": "t"},
                            {"name": "default", "template": "d"}]})",
      "f");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->chat_template, "d");
  EXPECT_EQ(TokenizerConfig::parse(R"({"chat_template": []})", "f")->chat_template, std::nullopt);
}

TEST(TokenizerConfig, Refuses) {
  for (const char* json : {"[]", "{", R"({"bos_token": 3})", R"({"eos_token": {"id": 3}})",
                           R"({"chat_template": {}})", R"({"chat_template": ["d"]})"}) {
    const auto config = TokenizerConfig::parse(json, "dir/tokenizer_config.json");
    ASSERT_FALSE(config) << json;
    EXPECT_EQ(config.error().code, ErrorCode::kBadHeader) << json;
    EXPECT_EQ(config.error().message.find("dir/tokenizer_config.json"), 0u);
  }
}

TEST(TokenizerConfig, FolderWithTemplateFile) {
  const std::string folder = testing::TempDir() + "hlwq_tokenizer_config";
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const char* content) {
    std::ofstream(folder + "/" + name) << content;
  };
  EXPECT_EQ(TokenizerConfig::read(folder)->bos_token, std::nullopt);
  write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": "in the file"})");
  EXPECT_EQ(TokenizerConfig::read(folder)->chat_template, "in the file");
  write("chat_template.jinja", "beside it");
  EXPECT_EQ(TokenizerConfig::read(folder)->chat_template, "beside it");
  EXPECT_EQ(TokenizerConfig::read(folder)->bos_token, "<s>");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace hlwq
