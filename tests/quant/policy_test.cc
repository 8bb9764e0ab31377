#include "quant/policy.h"

#include <gtest/gtest.h>

#include "tests/quant/goldens.h"

namespace hlwq {
namespace {

bool keeps(std::string_view name, std::vector<int64_t> shape, std::vector<std::string> globs = {}) {
  return keeps_precision(name, shape, globs);
}

TEST(Policy, AgreesWithTheUniformRule) {
  int cases = 0;
  for (const auto& row : Goldens::get().manifest().at("bit_rules")) {
    EXPECT_EQ(keeps(row.at("name").get<std::string>(), row.at("shape").get<std::vector<int64_t>>()),
              row.at("uniform5").get<int>() == 16)
        << row.at("name");
    ++cases;
  }
  EXPECT_GE(cases, 29);
}

TEST(Policy, NamesThatLookAlike) {
  EXPECT_TRUE(keeps("layers.0.mixer.D", {64, 64}));
  EXPECT_FALSE(keeps("layers.0.mlp.down_proj.weight", {64, 64}));
  EXPECT_TRUE(keeps("layers.0.RMSNorm.weight", {64, 64}));
  EXPECT_TRUE(keeps("layers.0.input_LayerNorm.weight", {64, 64}));
  EXPECT_TRUE(keeps("layers.0.mixer.DT_PROJ.weight", {64, 64}));
  EXPECT_TRUE(keeps("layers.0.mixer.a_log", {64, 64}));
  EXPECT_TRUE(keeps("layers.0.mixer.Conv1D.weight", {64, 64}));
  EXPECT_TRUE(keeps("layers.0.mixer.dt_bias", {64, 64}));
  EXPECT_TRUE(keeps("layers.1.mixer.gate.weight", {128, 2688}));
  EXPECT_FALSE(keeps("layers.1.mixer.gate.weight.inner", {128, 2688}));
  EXPECT_FALSE(keeps("layers.1.mlp.gate_proj.weight", {128, 2688}));
  EXPECT_FALSE(keeps("layers.1.mixer.fc1_latent_proj.weight", {1024, 4096}));
  EXPECT_FALSE(keeps("layers.1.mixer.fc2_latent_proj.weight", {4096, 1024}));
}

TEST(Policy, ShapesDecideToo) {
  EXPECT_TRUE(keeps("w.weight", {}));
  EXPECT_TRUE(keeps("w.weight", {4096}));
  EXPECT_TRUE(keeps("w.weight", {15, 17}));
  EXPECT_FALSE(keeps("w.weight", {16, 16}));
  EXPECT_TRUE(keeps("w.weight", {8, 64, 64}));
  EXPECT_FALSE(keeps("w.weight", {int64_t{1} << 40, int64_t{1} << 40}));  // past 64 bits
}

TEST(Policy, GlobsKeepMore) {
  const std::vector<std::string> globs = {"lm_head.*", "backbone.layers.5.*q_proj*"};
  EXPECT_TRUE(keeps("lm_head.weight", {512, 512}, globs));
  EXPECT_TRUE(keeps("backbone.layers.5.mixer.q_proj.weight", {512, 512}, globs));
  EXPECT_FALSE(keeps("backbone.layers.6.mixer.q_proj.weight", {512, 512}, globs));
  EXPECT_FALSE(keeps("xlm_head.weight", {512, 512}, globs));
}

TEST(Glob, StarsAndQuestionMarks) {
  EXPECT_TRUE(glob_matches("", ""));
  EXPECT_FALSE(glob_matches("", "a"));
  EXPECT_TRUE(glob_matches("*", ""));
  EXPECT_TRUE(glob_matches("**", "anything"));
  EXPECT_TRUE(glob_matches("a?c", "abc"));
  EXPECT_FALSE(glob_matches("a?c", "ac"));
  EXPECT_TRUE(glob_matches("a*b*c", "a.b.b.c"));
  EXPECT_FALSE(glob_matches("a*b*c", "a.b.b.d"));
  EXPECT_TRUE(glob_matches("*.weight", "x.weight.weight"));
  EXPECT_FALSE(glob_matches("weight", "x.weight"));
  EXPECT_TRUE(glob_matches("*aab", "aaaaab"));
  EXPECT_FALSE(glob_matches("?", ""));
  // Many stars against a text that almost matches must not take exponential time.
  EXPECT_FALSE(glob_matches("*a*a*a*a*a*a*a*a*a*a*b", std::string(2000, 'a')));
}

}  // namespace
}  // namespace hlwq
