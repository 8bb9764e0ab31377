#include "api/generation_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace hlwq {
namespace {

class GenerationConfigTest : public testing::Test {
 protected:
  GenerationConfigTest()
      : folder_(testing::TempDir() + "hlwq_generation_config_" + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~GenerationConfigTest() override { std::filesystem::remove_all(folder_); }
  Result<GenerationConfig> read(const std::string& json) {
    std::ofstream(folder_ + "/generation_config.json") << json;
    return read_generation_config(folder_);
  }
  std::string folder_;
};

TEST_F(GenerationConfigTest, AbsentFileIsEmpty) {
  const auto config = read_generation_config(folder_);
  ASSERT_TRUE(config);
  EXPECT_FALSE(config->sampling.temperature);
  EXPECT_TRUE(config->stop_ids.empty());
}

TEST_F(GenerationConfigTest, ReadsWhatItKnowsAndSkipsTheRest) {
  const auto config = read(R"({"do_sample": true, "temperature": 0.6, "top_p": 0.95, "top_k": 20,
      "min_p": null, "repetition_penalty": 1.1, "eos_token_id": [2, 11], "other": {"x": []}})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->sampling.temperature, 0.6);
  EXPECT_EQ(config->sampling.top_p, 0.95);
  EXPECT_EQ(config->sampling.top_k, 20);
  EXPECT_FALSE(config->sampling.min_p);
  EXPECT_EQ(config->sampling.repeat_penalty, 1.1);
  EXPECT_FALSE(config->sampling.seed);
  EXPECT_EQ(config->stop_ids, (std::vector<int32_t>{2, 11}));
}

TEST_F(GenerationConfigTest, NoSamplingIsGreedy) {
  EXPECT_EQ(read(R"({"do_sample": false, "temperature": 0.6})")->sampling.temperature, 0.0);
  EXPECT_EQ(read(R"({"eos_token_id": 7})")->stop_ids, std::vector<int32_t>{7});
}

TEST_F(GenerationConfigTest, NamesTheKeyThatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"temperature": "hot"})", "temperature"},
      {R"({"top_k": 1.5})", "top_k"},
      {R"({"top_p": 3})", "top-p"},
      {R"({"temperature": Infinity})", "temperature"},
      {R"({"eos_token_id": -1})", "eos_token_id"},
      {R"({"eos_token_id": [1, "a"]})", "eos_token_id"},
      {R"({"eos_token_id": 3000000000})", "eos_token_id"},
      {R"({"do_sample": 1})", "do_sample"},
      {R"([1])", "object"},
      {R"({"temperature": )", ""}};
  for (const auto& [json, key] : cases) {
    SCOPED_TRACE(json);
    const auto config = read(json);
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().code, ErrorCode::kBadHeader);
    EXPECT_NE(config.error().message.find("generation_config.json"), std::string::npos);
    EXPECT_NE(config.error().message.find(key), std::string::npos) << config.error().message;
  }
}

}  // namespace
}  // namespace hlwq
