// The expert cache on the host: what it promises for any calls, and the published traces.

#include "ops/expert_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "io/json.h"
#include "tests/ops/expert_cache_support.h"

namespace hlwq::test {
namespace {

class Policies : public testing::TestWithParam<CachePolicy> {};

TEST_P(Policies, KeepsItsPromises) {
  for (const auto& [slots, least] : {std::pair{1, 0}, {3, 1}, {7, 1}, {12, 2}, {24, 3}, {60, 0}}) {
    TestCache cache({.layers = 3,
                     .experts = 20,
                     .slots = slots,
                     .least_per_layer = least,
                     .policy = GetParam()});
    for (uint64_t call = 0; call < 400; ++call) {
      const auto layer = static_cast<int64_t>(call % 3);
      const std::vector<int32_t> ids = random_choices(call, 20, 1 + call % 9);
      const std::set<int32_t> needed(ids.begin(), ids.end());
      const auto before = cache.residents();
      cache.place(layer, ids);
      cache.check_consistent();
      int64_t placed = 0;
      for (const int32_t e : needed) {
        const auto key = static_cast<int32_t>(layer * 20 + e);
        const bool in_slot = cache.cache().slot_of[key] >= 0;
        placed += in_slot ? 1 : 0;
        EXPECT_EQ(cache.record_at(cache.table()[static_cast<size_t>(e)].up), key);
        EXPECT_TRUE(in_slot || !before.contains(key)) << "an expert of the step was evicted";
        EXPECT_EQ(
            cache.table()[static_cast<size_t>(e)].down - cache.table()[static_cast<size_t>(e)].up,
            cache.cache().records[layer].down_offset);
      }
      // A layer goes without a slot only when its own needs or the others' least fill the pool.
      const int64_t others_least = std::min<int64_t>(2 * least, slots);
      EXPECT_GE(placed,
                std::min<int64_t>(static_cast<int64_t>(needed.size()), slots - others_least));
    }
    const ExpertCounts total = cache.counts();
    if (slots >= 24) {
      EXPECT_GT(total.hits, 0u);
    }
    EXPECT_GT(total.misses, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Policies,
                         testing::Values(CachePolicy::kLru, CachePolicy::kLfru, CachePolicy::kFifo,
                                         CachePolicy::kFrecency));

// A layer that uses a single expert keeps its least, and no more.
TEST(ExpertCache, LeavesEveryLayerItsLeast) {
  TestCache cache({.layers = 2, .experts = 16, .slots = 8, .least_per_layer = 2});
  cache.place(0, {0, 1, 2, 3});
  for (uint64_t call = 0; call < 50; ++call) {
    cache.place(0, {2});
    cache.place(1, random_choices(call, 16, 5));
  }
  EXPECT_EQ(cache.cache().held[0], 2);
  EXPECT_EQ(cache.cache().held[1], 6);
}

// The manifest's step-by-step traces of one layer with 4 slots: the protected LRU and LFRU, which
// never evict an expert of the step. Up to where they meet more experts than slots: the published
// ones then forget some, ours read them in place.
TEST(ExpertCache, FollowsThePublishedTraces) {
  const auto manifest = read_json_file(std::string(HLWQ_TEST_DATA) + "/hlwq_goldens/manifest.json");
  ASSERT_TRUE(manifest) << manifest.error().message;
  const Json& golden = (*manifest)["expert_cache"];
  const int64_t experts = golden["num_experts"], capacity = golden["capacity"];
  for (const auto& [name, policy] : {std::pair{"lru_protected", CachePolicy::kLru},
                                     {"lfru_score_protected", CachePolicy::kLfru}}) {
    TestCache cache({.layers = 1, .experts = experts, .slots = capacity, .policy = policy});
    size_t steps = 0;
    for (const Json& step : golden["runs"][name]) {
      if (step["overflow"]) break;
      const uint64_t hits = cache.counts().hits;
      cache.place(0, step["need"].get<std::vector<int32_t>>());
      EXPECT_EQ(cache.counts().hits - hits, step["hits"].get<uint64_t>());
      std::set<int32_t> want;
      for (const auto& [key, slot] : step["resident"].items()) want.insert(std::stoi(key));
      EXPECT_EQ(cache.residents(), want) << name << " step " << steps;
      ++steps;
    }
    EXPECT_EQ(steps, 48u);
  }
}

TEST(ExpertCache, WeightsFallByHalves) {
  EXPECT_EQ(weight_after(8, 0), 8);
  EXPECT_EQ(weight_after(8, kHalfLife), 4);
  EXPECT_EQ(weight_after(8, 3 * kHalfLife), 1);
  EXPECT_EQ(weight_after(8, ~0u), 0);
  float last = 8;
  for (uint32_t age = 1; age < 3 * kHalfLife; ++age) {
    EXPECT_LT(weight_after(8, age), last);
    last = weight_after(8, age);
  }
}

}  // namespace
}  // namespace hlwq::test
