#include "model/tensor_names.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>

#include "model/expert_names.h"

namespace hlwq {
namespace {

// The published 30B model's shapes.
ModelConfig cascade_30b() {
  ModelConfig config;
  config.vocabulary = 131072;
  config.hidden = 2688;
  config.mamba = {.heads = 64, .head_dim = 64, .groups = 8, .state = 128, .kernel = 4};
  config.attention = {.heads = 32, .kv_heads = 2, .head_dim = 128};
  const MoeConfig moe{.experts = 128,
                      .experts_used = 6,
                      .width = 1856,
                      .shared_width = 3712,
                      .latent = 0,
                      .groups = 1,
                      .groups_used = 1,
                      .normalize = true,
                      .scale = 2.5f};
  for (const char c : std::string("MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"))
    config.layers.push_back({.kind = static_cast<LayerKind>(c), .mlp_width = 0, .moe = moe});
  return config;
}

const ExpectedTensor* find(const std::vector<ExpectedTensor>& tensors, std::string_view name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [&](const ExpectedTensor& t) { return t.name == name; });
  return it == tensors.end() ? nullptr : &*it;
}

using Shape = std::vector<int64_t>;

TEST(ExpectedTensors, CountsOfThe30B) {
  const auto tensors = expected_tensors(cascade_30b());
  EXPECT_EQ(tensors.size(), 6243u);
  int64_t parameters = 0;
  std::set<std::string> names;
  for (const ExpectedTensor& t : tensors) {
    parameters += std::accumulate(t.shape.begin(), t.shape.end(), int64_t{1}, std::multiplies<>());
    names.insert(t.name);
  }
  EXPECT_EQ(parameters, 31'577'940'288);
  EXPECT_EQ(names.size(), tensors.size());
  EXPECT_EQ(tensors.front().name, "backbone.embeddings.weight");
  EXPECT_EQ(tensors.back().name, "lm_head.weight");
}

TEST(ExpectedTensors, ShapesOfThe30B) {
  const auto tensors = expected_tensors(cascade_30b());
  const std::pair<const char*, Shape> wanted[] = {
      {"backbone.embeddings.weight", {131072, 2688}},
      {"backbone.layers.0.norm.weight", {2688}},
      {"backbone.layers.0.mixer.in_proj.weight", {10304, 2688}},
      {"backbone.layers.0.mixer.conv1d.weight", {6144, 1, 4}},
      {"backbone.layers.0.mixer.conv1d.bias", {6144}},
      {"backbone.layers.0.mixer.A_log", {64}},
      {"backbone.layers.0.mixer.norm.weight", {4096}},
      {"backbone.layers.0.mixer.out_proj.weight", {2688, 4096}},
      {"backbone.layers.5.mixer.q_proj.weight", {4096, 2688}},
      {"backbone.layers.5.mixer.v_proj.weight", {256, 2688}},
      {"backbone.layers.5.mixer.o_proj.weight", {2688, 4096}},
      {"backbone.layers.51.mixer.gate.weight", {128, 2688}},
      {"backbone.layers.51.mixer.gate.e_score_correction_bias", {128}},
      {"backbone.layers.51.mixer.experts.127.up_proj.weight", {1856, 2688}},
      {"backbone.layers.51.mixer.experts.127.down_proj.weight", {2688, 1856}},
      {"backbone.layers.51.mixer.shared_experts.down_proj.weight", {2688, 3712}},
      {"backbone.norm_f.weight", {2688}},
  };
  for (const auto& [name, shape] : wanted) {
    const ExpectedTensor* tensor = find(tensors, name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(tensor->shape, shape) << name;
  }
  EXPECT_EQ(find(tensors, "backbone.layers.0.mixer.in_proj.bias"), nullptr);
}

TEST(ExpectedTensors, OptionalParts) {
  ModelConfig config = cascade_30b();
  config.layers.resize(6);
  config.layers[1].moe.latent = 1024;
  config.layers[1].moe.shared_width = 0;
  config.layers[3] = {.kind = LayerKind::kMlp, .mlp_width = 77, .moe = {}};
  config.tied_head = config.mamba_bias = config.mlp_bias = config.attention_bias = true;
  config.conv_bias = false;
  const auto tensors = expected_tensors(config);
  const auto shape_of = [&](const char* name) {
    const ExpectedTensor* tensor = find(tensors, name);
    return tensor == nullptr ? Shape{} : tensor->shape;
  };
  EXPECT_EQ(shape_of("lm_head.weight"), Shape{});
  EXPECT_EQ(shape_of("backbone.layers.0.mixer.conv1d.bias"), Shape{});
  EXPECT_EQ(shape_of("backbone.layers.0.mixer.in_proj.bias"), Shape{10304});
  EXPECT_EQ(shape_of("backbone.layers.0.mixer.out_proj.bias"), Shape{2688});
  EXPECT_EQ(shape_of("backbone.layers.1.mixer.fc1_latent_proj.weight"), (Shape{1024, 2688}));
  EXPECT_EQ(shape_of("backbone.layers.1.mixer.fc2_latent_proj.weight"), (Shape{2688, 1024}));
  EXPECT_EQ(shape_of("backbone.layers.1.mixer.experts.3.up_proj.weight"), (Shape{1856, 1024}));
  EXPECT_EQ(shape_of("backbone.layers.1.mixer.experts.3.down_proj.weight"), (Shape{1024, 1856}));
  EXPECT_EQ(shape_of("backbone.layers.1.mixer.shared_experts.up_proj.weight"), Shape{});
  EXPECT_EQ(shape_of("backbone.layers.3.mixer.up_proj.weight"), (Shape{77, 2688}));
  EXPECT_EQ(shape_of("backbone.layers.3.mixer.up_proj.bias"), Shape{77});
  EXPECT_EQ(shape_of("backbone.layers.3.mixer.down_proj.bias"), Shape{2688});
  EXPECT_EQ(shape_of("backbone.layers.5.mixer.k_proj.bias"), Shape{256});
}

TEST(CanonicalName, EverySpelling) {
  const std::pair<const char*, const char*> cases[] = {
      {"backbone.layers.0.norm.weight", "backbone.layers.0.norm.weight"},
      {"model.layers.0.norm.weight", "backbone.layers.0.norm.weight"},
      {"language_model.backbone.norm_f.weight", "backbone.norm_f.weight"},
      {"language_model.model.norm_f.weight", "backbone.norm_f.weight"},
      {"language_model.lm_head.weight", "lm_head.weight"},
      {"model.embedding.weight", "backbone.embeddings.weight"},
      {"backbone.embedding.weight", "backbone.embeddings.weight"},
      {"model.layers.1.mixer.experts.up_proj", "backbone.layers.1.mixer.experts.up_proj"},
      {"model.layers.1.mixer.experts.up_proj_e12.weight",
       "backbone.layers.1.mixer.experts.12.up_proj.weight"},
      {"backbone.layers.1.mixer.experts.down_proj_e0",
       "backbone.layers.1.mixer.experts.0.down_proj.weight"},
      {"backbone.layers.1.mixer.experts.down_proj_ex",
       "backbone.layers.1.mixer.experts.down_proj_ex"},
      {"modelling.weight", "modelling.weight"},
      {"", ""},
  };
  for (const auto& [stored, canonical] : cases)
    EXPECT_EQ(canonical_name(Architecture::kNemotronH, stored), canonical);
}

TEST(FusedSlice, OnlyExpertMatrices) {
  const auto slice = fused_slice_of("backbone.layers.7.mixer.experts.31.down_proj.weight");
  ASSERT_TRUE(slice);
  EXPECT_EQ(slice->name, "backbone.layers.7.mixer.experts.down_proj");
  EXPECT_EQ(slice->expert, 31);
  for (const char* name :
       {"backbone.layers.7.mixer.experts.down_proj", "backbone.layers.7.mixer.up_proj.weight",
        "backbone.layers.7.mixer.experts.x.up_proj.weight",
        "backbone.layers.7.mixer.experts.-1.up_proj.weight",
        "backbone.layers.7.mixer.experts.1.gate_proj.weight",
        "backbone.layers.7.mixer.experts.99999999999999999999.up_proj.weight",
        "backbone.layers.7.mixer.shared_experts.up_proj.weight"})
    EXPECT_FALSE(fused_slice_of(name)) << name;
}

TEST(IgnoredNames, ServingExtras) {
  for (const char* name : {"mtp.layers.0.enorm.weight", "language_model.mtp.norm.weight",
                           "backbone.layers.5.mixer.k_proj.k_scale", "x.v_scale",
                           "backbone.layers.5.mixer.rotary_emb.cos", "a.inv_freq"})
    EXPECT_TRUE(is_ignored(name)) << name;
  for (const char* name : {"backbone.layers.0.norm.weight", "lm_head.weight", "x.weight_scale"})
    EXPECT_FALSE(is_ignored(name)) << name;
}

TEST(AllSpellings, ContainEveryFormOfAnExpert) {
  ModelConfig config = cascade_30b();
  config.layers.resize(2);
  const auto expected = expected_tensors(config);
  const auto spellings = all_spellings(Architecture::kNemotronH, expected);
  for (const char* name :
       {"backbone.layers.0.norm.weight", "model.layers.0.norm.weight",
        "language_model.backbone.layers.0.norm.weight", "language_model.model.layers.0.norm.weight",
        "lm_head.weight", "language_model.lm_head.weight", "model.embedding.weight",
        "model.layers.1.mixer.experts.5.up_proj.weight",
        "model.layers.1.mixer.experts.up_proj_e5.weight"}) {
    const ExpectedTensor* tensor = find(spellings, name);
    ASSERT_NE(tensor, nullptr) << name;
    // Whatever the spelling, it is the same parameter.
    const ExpectedTensor* canonical =
        find(expected, canonical_name(Architecture::kNemotronH, name));
    ASSERT_NE(canonical, nullptr) << name;
    EXPECT_EQ(tensor->shape, canonical->shape) << name;
  }
  const ExpectedTensor* fused = find(spellings, "model.layers.1.mixer.experts.down_proj");
  ASSERT_NE(fused, nullptr);
  EXPECT_EQ(fused->shape, (Shape{128, 2688, 1856}));
}

}  // namespace
}  // namespace hlwq
