#include "model/config.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

namespace hlwq {
namespace {

// The published 30B configuration, as far as it matters.
constexpr const char* k30b = R"({
  "architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h",
  "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
  "num_hidden_layers": 52, "vocab_size": 131072, "hidden_size": 2688,
  "layer_norm_epsilon": 1e-05, "norm_eps": 1e-05, "tie_word_embeddings": false,
  "residual_in_fp32": false, "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 128,
  "attention_bias": false, "sliding_window": null, "max_position_embeddings": 262144,
  "rope_theta": 10000, "partial_rotary_factor": 1.0, "intermediate_size": 1856,
  "mlp_hidden_act": "relu2", "mlp_bias": false, "mamba_num_heads": 64, "mamba_head_dim": 64,
  "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4, "use_conv_bias": true, "use_bias": false,
  "mamba_proj_bias": false, "mamba_hidden_act": "silu", "chunk_size": 128,
  "time_step_limit": [0.0, Infinity], "time_step_min": 0.001, "time_step_max": 0.1,
  "time_step_floor": 0.0001, "expand": 2, "n_routed_experts": 128, "num_experts_per_tok": 6,
  "moe_intermediate_size": 1856, "n_shared_experts": 1,
  "moe_shared_expert_intermediate_size": 3712, "n_group": 1, "topk_group": 1,
  "norm_topk_prob": true, "routed_scaling_factor": 2.5, "bos_token_id": 1, "eos_token_id": 2,
  "pad_token_id": 0, "torch_dtype": "bfloat16", "unknown_key": {"a": [1]}})";

Json published() { return *parse_json(k30b, "config.json"); }

Result<ModelConfig> parse(const Json& json) { return parse_model_config(json, "config.json"); }

// A value as JSON text, put under `key`.
Result<ModelConfig> parse_with(const char* key, const char* value) {
  Json json = published();
  json[key] = *parse_json(value, "value");
  return parse(json);
}

TEST(NemotronConfig, Published30B) {
  const auto config = parse(published());
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers.size(), 52u);
  EXPECT_EQ(config->count(LayerKind::kMamba), 23);
  EXPECT_EQ(config->count(LayerKind::kMoe), 23);
  EXPECT_EQ(config->count(LayerKind::kAttention), 6);
  EXPECT_EQ(config->count(LayerKind::kMlp), 0);
  EXPECT_EQ(config->vocabulary, 131072);
  EXPECT_EQ(config->hidden, 2688);
  EXPECT_EQ(config->eps, 1e-5f);
  EXPECT_FALSE(config->tied_head);
  EXPECT_EQ(config->mamba.inner(), 4096);
  EXPECT_EQ(config->mamba.conv_channels(), 6144);
  EXPECT_EQ(config->mamba.projected(), 10304);
  EXPECT_EQ(config->attention.kv_heads, 2);
  const MoeConfig& moe = config->layers[1].moe;
  EXPECT_EQ(moe.experts, 128);
  EXPECT_EQ(moe.experts_used, 6);
  EXPECT_EQ(moe.width, 1856);
  EXPECT_EQ(moe.shared_width, 3712);
  EXPECT_EQ(moe.latent, 0);
  EXPECT_EQ(moe.scale, 2.5f);
  // The limit counts, never the training-time minimum and maximum.
  EXPECT_EQ(config->dt_min, 0.0f);
  EXPECT_EQ(config->dt_max, std::numeric_limits<float>::infinity());
  EXPECT_EQ(config->max_positions, 262144);
  EXPECT_EQ(config->bos, 1);
  EXPECT_EQ(config->pad, 0);
  EXPECT_EQ(config->eos, std::vector<int32_t>{2});
}

TEST(NemotronConfig, DefaultsOfAbsentKeys) {
  const auto config =
      parse(*parse_json(R"({"model_type": "nemotron_h", "hybrid_override_pattern": "M*-E"})", "c"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->vocabulary, 131072);
  EXPECT_EQ(config->hidden, 4096);
  EXPECT_EQ(config->attention.heads, 32);
  EXPECT_EQ(config->attention.kv_heads, 8);
  EXPECT_EQ(config->attention.head_dim, 128);
  EXPECT_EQ(config->mamba.heads, 128);
  EXPECT_EQ(config->mamba.head_dim, 64);
  EXPECT_EQ(config->mamba.state, 128);
  EXPECT_EQ(config->mamba.groups, 8);
  EXPECT_EQ(config->mamba.kernel, 4);
  EXPECT_TRUE(config->conv_bias);
  EXPECT_EQ(config->layers[2].mlp_width, 21504);
  EXPECT_EQ(config->layers[3].moe.experts, 8);
  EXPECT_EQ(config->layers[3].moe.experts_used, 2);
  EXPECT_EQ(config->layers[3].moe.width, 7688);
  EXPECT_EQ(config->layers[3].moe.shared_width, 7688);
  EXPECT_TRUE(config->layers[3].moe.normalize);
  EXPECT_EQ(config->layers[3].moe.scale, 1.0f);
  EXPECT_FALSE(config->bos);
  EXPECT_TRUE(config->eos.empty());
  EXPECT_EQ(parse_with("num_key_value_heads", "null")->attention.kv_heads, 32);
}

TEST(NemotronConfig, LayerListInBothSpellings) {
  for (const char* list : {R"(["mamba", "moe", "attention", "mlp"])",
                           R"(["linear_attention", "moe", "full_attention", "mlp"])"}) {
    for (const char* key : {"layers_block_type", "layer_types"}) {
      Json json = published();
      json.erase("hybrid_override_pattern");
      json["num_hidden_layers"] = 4;
      json[key] = *parse_json(list, "list");
      const auto config = parse(json);
      ASSERT_TRUE(config) << config.error().message;
      std::string letters;
      for (const LayerConfig& layer : config->layers) letters += static_cast<char>(layer.kind);
      EXPECT_EQ(letters, "ME*-");
    }
  }
}

TEST(NemotronConfig, Aliases) {
  Json json = published();
  const std::pair<const char*, const char*> renamed[] = {
      {"head_dim", "attention_head_dim"},    {"n_groups", "mamba_n_groups"},
      {"conv_kernel", "mamba_d_conv"},       {"use_conv_bias", "mamba_conv_bias"},
      {"time_step_limit", "mamba_dt_limit"}, {"n_routed_experts", "num_local_experts"},
      {"layer_norm_epsilon", "norm_eps"},
  };
  json["head_dim"] = 96, json["n_groups"] = 4, json["conv_kernel"] = 3;
  json["use_conv_bias"] = false, json["n_routed_experts"] = 64;
  json["layer_norm_epsilon"] = 1e-6;
  json["time_step_limit"] = Json::array({0.25, 8});
  for (const auto& [name, alias] : renamed) {
    json[alias] = json[name];
    json.erase(name);
  }
  const auto config = parse(json);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->attention.head_dim, 96);
  EXPECT_EQ(config->mamba.groups, 4);
  EXPECT_EQ(config->mamba.kernel, 3);
  EXPECT_FALSE(config->conv_bias);
  EXPECT_EQ(config->dt_min, 0.25f);
  EXPECT_EQ(config->dt_max, 8.0f);
  EXPECT_EQ(config->layers[1].moe.experts, 64);
  EXPECT_EQ(config->eps, 1e-6f);
}

TEST(NemotronConfig, QuirksThatAreAccepted) {
  EXPECT_EQ(parse_with("time_step_limit", R"([0.0, {"__float__": "Infinity"}])")->dt_max,
            std::numeric_limits<float>::infinity());
  EXPECT_EQ(parse_with("eos_token_id", "[2, 11]")->eos, (std::vector<int32_t>{2, 11}));
  EXPECT_TRUE(parse_with("eos_token_id", "null")->eos.empty());
  EXPECT_TRUE(parse_with("residual_in_fp32", "true"));
  EXPECT_EQ(parse_with("n_shared_experts", "0")->layers[1].moe.shared_width, 0);
  EXPECT_EQ(parse_with("moe_latent_size", "1024")->layers[1].moe.latent, 1024);
  for (const char* method : {"polarengine", "polar"})
    EXPECT_TRUE(parse_with("quantization_config",
                           (R"({"quant_method": ")" + std::string(method) + R"("})").c_str()));
  // Keys of layer kinds the model lacks are not looked at.
  Json json = published();
  json["hybrid_override_pattern"] = "M*";
  json["num_hidden_layers"] = 2;
  json["n_routed_experts"] = 0;
  EXPECT_TRUE(parse(json));
}

TEST(NemotronConfig, WidthsOfMlpLayers) {
  Json json = published();
  json["hybrid_override_pattern"] = "-M--";
  json["num_hidden_layers"] = 4;
  json["intermediate_size"] = {10, 20, 30};
  auto config = parse(json);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers[0].mlp_width, 10);
  EXPECT_EQ(config->layers[2].mlp_width, 20);
  EXPECT_EQ(config->layers[3].mlp_width, 30);
  json["intermediate_size"] = {40};
  config = parse(json);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->layers[3].mlp_width, 40);
  json["mlp_bias"] = true;
  EXPECT_TRUE(parse(json)->mlp_bias);
  for (const char* bad : {"[1, 2]", "[]", "[1, 2, \"3\"]", "[1, 2, -3]", "\"many\""}) {
    json["intermediate_size"] = *parse_json(bad, "v");
    const auto refused = parse(json);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().code, ErrorCode::kBadHeader);
    EXPECT_NE(refused.error().message.find("intermediate_size"), std::string::npos);
  }
}

TEST(NemotronConfig, InsideAVisionLanguagePackage) {
  for (const char* key : {"llm_config", "text_config"}) {
    Json json;
    json["model_type"] = "NemotronH_Nano_VL";
    json[key] = published();
    const auto config = parse(json);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->hidden, 2688);
    json["quantization_config"] = {{"quant_method", "modelopt"}};
    ASSERT_FALSE(parse(json));
    EXPECT_EQ(parse(json).error().code, ErrorCode::kUnsupported);
  }
}

struct Refusal {
  const char* key;
  const char* value;
  ErrorCode code;
  const char* named;  // in the message, besides config.json
};

TEST(NemotronConfig, RefusesNamingTheKey) {
  constexpr auto kHeader = ErrorCode::kBadHeader;
  constexpr auto kUnsupported = ErrorCode::kUnsupported;
  const Refusal refusals[] = {
      {"model_type", "\"mistral\"", kUnsupported, "mistral"},
      {"model_type", "\"nemotron_h_puzzle\"", kUnsupported, "nemotron_h_puzzle"},
      {"model_type", "7", kHeader, "model_type"},
      {"hybrid_override_pattern", "\"MEMX\"", kUnsupported, "layer 3"},
      {"hybrid_override_pattern", "\"M\\u0000\"", kUnsupported, "layer 1"},
      {"hybrid_override_pattern", "\"\"", kHeader, "0 layers"},
      {"hybrid_override_pattern", "\"ME\"", kHeader, "num_hidden_layers"},
      {"hybrid_override_pattern", "[1]", kHeader, "hybrid_override_pattern"},
      {"layers_block_type", "[\"mamba\"]", kHeader, "layers_block_type"},
      {"layers_block_type", "[\"conv\"]", kUnsupported, "conv"},
      {"layers_block_type", "[3]", kUnsupported, "layer 0"},
      {"layers_block_type", "{}", kHeader, "layers_block_type"},
      {"num_hidden_layers", "51", kHeader, "num_hidden_layers"},
      {"vocab_size", "0", kHeader, "vocab_size"},
      {"vocab_size", "-5", kHeader, "vocab_size"},
      {"vocab_size", "4294967296", kHeader, "vocab_size"},
      {"vocab_size", "18446744073709551615", kHeader, "vocab_size"},
      {"vocab_size", "1e3", kHeader, "vocab_size"},
      {"hidden_size", "\"2688\"", kHeader, "hidden_size"},
      {"hidden_size", "true", kHeader, "hidden_size"},
      {"layer_norm_epsilon", "NaN", kHeader, "layer_norm_epsilon"},
      {"layer_norm_epsilon", "0", kHeader, "layer_norm_epsilon"},
      {"norm_eps", "1e-6", kHeader, "norm_eps"},
      {"tie_word_embeddings", "1", kHeader, "tie_word_embeddings"},
      {"num_attention_heads", "31", kHeader, "num_attention_heads"},
      {"head_dim", "2147483647", kHeader, "head_dim"},
      {"sliding_window", "4096", kUnsupported, "sliding_window"},
      {"mlp_hidden_act", "\"silu\"", kUnsupported, "mlp_hidden_act"},
      {"mlp_bias", "true", kUnsupported, "mlp_bias"},
      {"mamba_hidden_act", "\"gelu\"", kUnsupported, "mamba_hidden_act"},
      {"mamba_num_heads", "63", kHeader, "mamba_num_heads"},
      {"mamba_num_heads", "2147483640", kHeader, "mamba_num_heads"},
      {"ssm_state_size", "2147483647", kHeader, "ssm_state_size"},
      {"conv_kernel", "1", kHeader, "conv_kernel"},
      {"conv_kernel", "100000", kHeader, "conv_kernel"},
      {"time_step_limit", "[1.0, 0.5]", kHeader, "time_step_limit"},
      {"time_step_limit", "[0.0, NaN]", kHeader, "time_step_limit"},
      {"time_step_limit", "[0.0]", kHeader, "time_step_limit"},
      {"time_step_limit", "0.5", kHeader, "time_step_limit"},
      {"n_routed_experts", "0", kHeader, "n_routed_experts"},
      {"n_routed_experts", "1048576", kHeader, "n_routed_experts"},
      {"num_experts_per_tok", "129", kHeader, "num_experts_per_tok"},
      {"n_shared_experts", "2", kUnsupported, "n_shared_experts"},
      {"n_group", "3", kHeader, "n_group"},
      {"n_group", "32", kHeader, "num_experts_per_tok"},
      {"topk_group", "2", kHeader, "topk_group"},
      {"routed_scaling_factor", "-1", kHeader, "routed_scaling_factor"},
      {"routed_scaling_factor", "Infinity", kHeader, "routed_scaling_factor"},
      {"eos_token_id", "131072", kHeader, "eos_token_id"},
      {"eos_token_id", "[2, -1]", kHeader, "eos_token_id"},
      {"bos_token_id", "\"<s>\"", kHeader, "bos_token_id"},
      {"quantization_config", R"({"quant_method": "modelopt"})", kUnsupported, "modelopt"},
      {"quantization_config", R"({"quant_method": "fp8"})", kUnsupported, "fp8"},
      {"quantization_config", R"({"quant_algo": "NVFP4"})", kUnsupported, "quant_method"},
      {"quantization_config", "[]", kHeader, "quantization_config"},
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

TEST(NemotronConfig, RefusesWhatIsNotAConfiguration) {
  for (const char* text : {"[]", "3", "null", "{}", R"({"architectures": "NemotronHForCausalLM"})",
                           R"({"model_type": "nemotron_h"})", R"({"llm_config": {}})"})
    EXPECT_FALSE(parse(*parse_json(text, "c"))) << text;
  // Neither list nor string describes the layers.
  EXPECT_NE(parse(*parse_json(R"({"model_type": "nemotron_h"})", "c"))
                .error()
                .message.find("hybrid_override_pattern"),
            std::string::npos);
}

TEST(NemotronConfig, TooManyLayers) {
  Json json = published();
  json.erase("num_hidden_layers");
  json["hybrid_override_pattern"] = std::string(5000, 'M');
  ASSERT_FALSE(parse(json));
  EXPECT_EQ(parse(json).error().code, ErrorCode::kBadHeader);
}

TEST(NemotronConfig, FilesOfTheRepository) {
  const std::string root = std::string(HLWQ_SOURCE_DIR);
  const auto config = read_model_config(root + "/models/tiny-nemotron-h");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->layers.size(), 9u);
  const auto absent = read_model_config(root + "/models/no-such-model");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kMissing);
}

}  // namespace
}  // namespace hlwq
