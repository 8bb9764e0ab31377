#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>

#include "model/config.h"
#include "model/rope.h"

namespace hlwq {
namespace {

// The published 135M configuration of SmolLM2, as far as it matters.
constexpr const char* kSmolLm2 = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false,
  "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
  "hidden_act": "silu", "hidden_size": 576, "initializer_range": 0.041666666666666664,
  "intermediate_size": 1536, "max_position_embeddings": 8192, "mlp_bias": false,
  "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1,
  "rms_norm_eps": 1e-05, "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
  "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 49152})";

constexpr const char* kLlama3Rope =
    R"({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192})";

Json published() { return *parse_json(kSmolLm2, "config.json"); }
Result<ModelConfig> parse(const Json& json) { return parse_model_config(json, "config.json"); }
Result<ModelConfig> parse_with(const char* key, const char* value) {
  Json json = published();
  json[key] = *parse_json(value, "value");
  return parse(json);
}

TEST(LlamaConfig, PublishedSmolLm2) {
  const auto config = parse(published());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->architecture, Architecture::kLlama);
  EXPECT_EQ(config->vocabulary, 49152);
  EXPECT_EQ(config->hidden, 576);
  EXPECT_EQ(config->eps, 1e-5f);
  EXPECT_TRUE(config->tied_head);
  EXPECT_EQ(config->published_layers(), 30);
  ASSERT_EQ(config->layers.size(), 60u);
  EXPECT_EQ(config->layers[0].kind, LayerKind::kAttention);
  EXPECT_EQ(config->layers[1].kind, LayerKind::kGatedMlp);
  EXPECT_EQ(config->layers[59].mlp_width, 1536);
  EXPECT_EQ(config->attention.heads, 9);
  EXPECT_EQ(config->attention.kv_heads, 3);
  EXPECT_EQ(config->attention.head_dim, 64);
  EXPECT_FALSE(config->attention_bias || config->mlp_bias);
  ASSERT_TRUE(config->rope);
  EXPECT_EQ(config->rope->theta, 100000.0);
  EXPECT_EQ(config->rope->scaling, RopeConfig::Scaling::kNone);
  EXPECT_EQ(config->max_positions, 8192);
  EXPECT_EQ(config->bos, 1);
  EXPECT_EQ(config->pad, 2);
  EXPECT_EQ(config->eos, std::vector<int32_t>{2});
}

TEST(LlamaConfig, DefaultsOfAbsentKeys) {
  const auto config = parse(*parse_json(R"({"architectures": ["LlamaForCausalLM"]})", "c"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->vocabulary, 32000);
  EXPECT_EQ(config->hidden, 4096);
  EXPECT_EQ(config->eps, 1e-6f);
  EXPECT_EQ(config->published_layers(), 32);
  EXPECT_EQ(config->layers[1].mlp_width, 11008);
  EXPECT_EQ(config->attention.heads, 32);
  EXPECT_EQ(config->attention.kv_heads, 32);
  EXPECT_EQ(config->attention.head_dim, 128);
  EXPECT_EQ(config->rope->theta, 10000.0);
  EXPECT_EQ(config->max_positions, 2048);
}

// Old files have the scaling under rope_scaling with "type", new ones everything in
// rope_parameters.
TEST(LlamaConfig, RotaryPositionsInEverySpelling) {
  const auto linear = parse_with("rope_scaling", R"({"type": "linear", "factor": 4})");
  ASSERT_TRUE(linear) << linear.error().message;
  EXPECT_EQ(linear->rope->scaling, RopeConfig::Scaling::kLinear);
  EXPECT_EQ(linear->rope->factor, 4.0);
  EXPECT_EQ(linear->rope->theta, 100000.0);

  const auto llama3 = parse_with("rope_scaling", kLlama3Rope);
  ASSERT_TRUE(llama3) << llama3.error().message;
  EXPECT_EQ(llama3->rope->scaling, RopeConfig::Scaling::kLlama3);
  EXPECT_EQ(llama3->rope->factor, 32.0);
  EXPECT_EQ(llama3->rope->low_freq_factor, 1.0);
  EXPECT_EQ(llama3->rope->high_freq_factor, 4.0);
  EXPECT_EQ(llama3->rope->original_positions, 8192.0);

  Json json = published();
  json.erase("rope_scaling");
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  const auto parameters = parse(json);
  ASSERT_TRUE(parameters) << parameters.error().message;
  EXPECT_EQ(parameters->rope->scaling, RopeConfig::Scaling::kNone);
  EXPECT_EQ(parameters->rope->theta, 5e5);
}

TEST(LlamaConfig, WidthsOfHeads) {
  // Wider heads than the stream divided, biases, and a list of what every layer is.
  Json json = published();
  json["head_dim"] = 128;
  json["attention_bias"] = true;
  json["mlp_bias"] = true;
  json["layer_types"] = std::vector<std::string>(30, "full_attention");
  const auto config = parse(json);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->attention.head_dim, 128);
  EXPECT_TRUE(config->attention_bias && config->mlp_bias);
}

struct Refusal {
  const char* key;
  const char* value;
  ErrorCode code;
  const char* named;  // in the message, besides config.json
};

TEST(LlamaConfig, RefusesNamingTheKey) {
  constexpr auto kHeader = ErrorCode::kBadHeader;
  constexpr auto kUnsupported = ErrorCode::kUnsupported;
  const Refusal refusals[] = {
      {"model_type", "\"mistral\"", kUnsupported, "llama (LlamaForCausalLM)"},
      {"hidden_size", "576.0", kHeader, "hidden_size"},
      {"hidden_size", "580", kHeader, "num_attention_heads"},
      {"intermediate_size", "0", kHeader, "intermediate_size"},
      {"intermediate_size", "2147483647", kHeader, "intermediate_size"},
      {"intermediate_size", "[1536]", kHeader, "intermediate_size"},
      {"num_hidden_layers", "0", kHeader, "num_hidden_layers"},
      {"num_hidden_layers", "2049", kHeader, "num_hidden_layers"},
      {"num_attention_heads", "\"9\"", kHeader, "num_attention_heads"},
      {"num_key_value_heads", "2", kHeader, "num_key_value_heads"},
      {"head_dim", "63", kHeader, "head_dim"},
      {"head_dim", "65538", kHeader, "head_dim"},
      {"head_dim", "true", kHeader, "head_dim"},
      {"rms_norm_eps", "0", kHeader, "rms_norm_eps"},
      {"rms_norm_eps", "\"1e-5\"", kHeader, "rms_norm_eps"},
      {"hidden_act", "\"gelu\"", kUnsupported, "hidden_act"},
      {"hidden_act", "7", kHeader, "hidden_act"},
      {"attention_bias", "0", kHeader, "attention_bias"},
      {"tie_word_embeddings", "\"true\"", kHeader, "tie_word_embeddings"},
      {"sliding_window", "4096", kUnsupported, "sliding_window"},
      {"layer_types", R"(["full_attention", "sliding_attention"])", kUnsupported, "layer_types"},
      {"partial_rotary_factor", "0.5", kUnsupported, "partial_rotary_factor"},
      {"rope_theta", "0.5", kHeader, "rope_theta"},
      {"rope_theta", "NaN", kHeader, "rope_theta"},
      {"rope_scaling", "8", kHeader, "rope_scaling"},
      {"rope_scaling", R"({"rope_type": "yarn", "factor": 4})", kUnsupported, "yarn"},
      {"rope_scaling", R"({"type": "dynamic", "factor": 4})", kUnsupported, "dynamic"},
      {"rope_scaling", R"({"type": "linear", "rope_type": "llama3"})", kHeader, "rope_type"},
      {"rope_scaling", R"({"rope_type": 3})", kHeader, "rope_type"},
      {"rope_scaling", R"({"rope_type": "linear"})", kHeader, "factor is absent"},
      {"rope_scaling", R"({"rope_type": "linear", "factor": 0.5})", kHeader, "factor"},
      {"rope_scaling", R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                           "high_freq_factor": 4})",
       kHeader, "original_max_position_embeddings is absent"},
      {"rope_scaling", R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                           "high_freq_factor": 4, "original_max_position_embeddings": 8192})",
       kHeader, "high_freq_factor"},
      {"rope_parameters", R"({"rope_type": "default", "rope_theta": 10000})", kHeader,
       "rope_theta"},
      {"quantization_config", R"({"quant_method": "awq"})", kUnsupported, "awq"},
  };
  for (const Refusal& r : refusals) {
    const auto config = parse_with(r.key, r.value);
    ASSERT_FALSE(config) << r.key << " = " << r.value;
    EXPECT_EQ(config.error().code, r.code)
        << r.key << " = " << r.value << ": " << config.error().message;
    EXPECT_NE(config.error().message.find(r.named), std::string::npos) << config.error().message;
    EXPECT_NE(config.error().message.find("config.json"), std::string::npos);
  }
}

TEST(Rope, FrequenciesOfEveryKind) {
  const RopeConfig plain{.theta = 10000.0};
  const auto frequencies = rope_frequencies(plain, 8);
  ASSERT_EQ(frequencies.size(), 4u);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(frequencies[i], std::pow(10.0, -static_cast<double>(i)), 1e-15);

  RopeConfig linear = plain;
  linear.scaling = RopeConfig::Scaling::kLinear;
  linear.factor = 4;
  EXPECT_NEAR(rope_frequencies(linear, 8)[1], 0.025, 1e-15);

  // Waves in 64 positions: 10.2, 1.02, 0.102 and 0.0102. The first stays, the last two are
  // stretched eightfold, the second goes 0.0062 of the way from 1 to 4 waves.
  RopeConfig llama3 = plain;
  llama3.scaling = RopeConfig::Scaling::kLlama3;
  llama3.factor = 8;
  llama3.original_positions = 64;
  const auto scaled = rope_frequencies(llama3, 8);
  EXPECT_EQ(scaled[0], frequencies[0]);
  const double share = (6.4 / (2 * std::numbers::pi) - 1) / 3;
  EXPECT_NEAR(scaled[1], 0.1 * ((1 - share) / 8 + share), 1e-15);
  EXPECT_NEAR(scaled[2], 0.01 / 8, 1e-15);
  EXPECT_NEAR(scaled[3], 0.001 / 8, 1e-15);
}

TEST(Rope, TableHasCosinesThenSines) {
  const RopeConfig rope{.theta = 100000.0};
  const auto frequencies = rope_frequencies(rope, 64);
  const auto table = rope_table(rope, 64, 8192);
  ASSERT_EQ(table.size(), 8192u * 64);
  for (const size_t position : {0, 1, 777, 8191}) {
    for (const size_t i : {0, 5, 31}) {
      const double angle = static_cast<double>(position) * frequencies[i];
      EXPECT_EQ(table[position * 64 + i], static_cast<float>(std::cos(angle)));
      EXPECT_EQ(table[position * 64 + 32 + i], static_cast<float>(std::sin(angle)));
    }
  }
}

}  // namespace
}  // namespace hlwq
