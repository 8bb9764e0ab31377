#include "format/naming.h"

#include <gtest/gtest.h>

namespace hlwq {
namespace {

TEST(Naming, CodeSuffixes) {
  for (const NamingRule& rule : kNamingRules) {
    const std::string name = "a.b" + std::string(rule.codes);
    const auto match = match_code_name(name);
    ASSERT_TRUE(match.has_value()) << name;
    EXPECT_EQ(match->rule, &rule);
    EXPECT_EQ(match->key, "a.b");
    EXPECT_FALSE(match_code_name(rule.codes).has_value()) << "a suffix alone is no layer";
  }
  EXPECT_FALSE(match_code_name("a.weight").has_value());
  EXPECT_TRUE(is_companion_name("a__meta"));
  EXPECT_TRUE(is_companion_name("a.ct_scaled"));
  EXPECT_FALSE(is_companion_name("a.norm.weight"));
}

TEST(Naming, ReadsDunderForwardBeforeBackward) {
  const std::vector<ExpectedTensor> expected = {{"a.in__out.weight", {2, 2}},
                                                {"x.experts.7.up_proj.weight", {2, 2}}};
  const ParameterNames names(expected);
  EXPECT_EQ(names.match("a__in__out").name, "a.in__out.weight");
  EXPECT_EQ(names.match("a__in__out__weight").expected, &expected[0]);
  EXPECT_EQ(names.match("b__c__d").name, "b.c.d.weight");
  EXPECT_EQ(names.match("b__c__d").expected, nullptr);
  EXPECT_EQ(names.match("lm_head").name, "lm_head.weight");
  const auto slice = names.match("x__experts__up_proj_e7");
  EXPECT_EQ(slice.expected, &expected[1]);
  EXPECT_TRUE(slice.slice);
}

TEST(Naming, SlicesOnlyUnderExperts) {
  const ParameterNames names({});
  EXPECT_EQ(names.match("m.experts.down_proj_e12").name, "m.experts.12.down_proj.weight");
  EXPECT_EQ(names.match("m.experts.down_proj.weight_e12").name, "m.experts.12.down_proj.weight");
  EXPECT_EQ(names.match("m.mlp.w_e1.weight").name, "m.mlp.w_e1.weight");
  EXPECT_EQ(names.match("m.mlp.w_e1").name, "m.mlp.w_e1.weight");
  EXPECT_EQ(names.match("m.experts.w_ex").name, "m.experts.w_ex.weight");
}

TEST(Naming, Spellings) {
  EXPECT_EQ(without_doubled_weight("a.weight.weight"), "a.weight");
  EXPECT_EQ(without_doubled_weight("a.weight"), "a.weight");
}

}  // namespace
}  // namespace hlwq
