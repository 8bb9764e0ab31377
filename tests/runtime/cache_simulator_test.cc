// What must hold for every routing, slots and policy, and for routing whose answer is known.

#include "runtime/experts/cache_simulator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "runtime/experts/slot_budget.h"

namespace hlwq::test {
namespace {

constexpr RoutingShape kShape = {.layers = 3, .experts = 24, .used = 4};
constexpr CachePolicy kPolicies[] = {CachePolicy::kLru, CachePolicy::kLfru, CachePolicy::kFifo,
                                     CachePolicy::kFrecency};

// Expert of rank r is as likely as (r + 1)^-skew, ranks by layer in another order, and every
// `phase` steps too (0: never).
Routing skewed_routing(double skew, int64_t steps, int64_t phase, uint64_t seed) {
  Routing routing{.shape = kShape, .batch = 1, .steps = steps, .ids = {}};
  uint64_t counter = 0;
  for (int64_t step = 0; step < steps; ++step)
    for (int64_t layer = 0; layer < kShape.layers; ++layer) {
      const int64_t shift = 5 * layer + (phase > 0 ? 7 * (step / phase) : 0);
      std::vector<std::pair<double, uint16_t>>
          keys;  // exponential clocks: drawn without putting back
      for (int64_t rank = 0; rank < kShape.experts; ++rank)
        keys.emplace_back(-std::log(random_uniform(seed, counter++)) *
                              std::pow(static_cast<double>(rank + 1), skew),
                          static_cast<uint16_t>((rank + shift) % kShape.experts));
      std::sort(keys.begin(), keys.end());
      std::vector<uint16_t> ids;
      for (int64_t i = 0; i < kShape.used; ++i) ids.push_back(keys[static_cast<size_t>(i)].second);
      std::sort(ids.begin(), ids.end());
      routing.ids.insert(routing.ids.end(), ids.begin(), ids.end());
    }
  return routing;
}

std::vector<Routing> all_routings() {
  return {even_routing(kShape, 1, 200, 1),  even_routing(kShape, 3, 100, 2),
          skewed_routing(1.0, 200, 0, 3),   skewed_routing(2.0, 200, 0, 4),
          skewed_routing(1.5, 200, 40, 5),  even_routing({1, 8, 8}, 1, 20, 6),
          even_routing({5, 2, 1}, 2, 60, 7)};
}

TEST(CacheSimulator, NoPolicyBeatsTheOptimum) {
  for (const Routing& routing : all_routings()) {
    const int64_t keys = routing.shape.layers * routing.shape.experts;
    for (const int64_t slots :
         {int64_t{1}, int64_t{2}, int64_t{5}, keys / 4, keys / 2, keys - 1, keys})
      for (const int64_t warm_up : {0, 13}) {
        if (slots < 1) continue;
        const CacheFigures best = simulate_optimum(routing, slots, warm_up);
        for (const CachePolicy policy : kPolicies) {
          const CacheFigures found = simulate_cache(routing, slots, policy, warm_up);
          EXPECT_LE(found.hits, best.hits) << slots << " slots";
          EXPECT_EQ(found.hits + found.misses, best.hits + best.misses);
          EXPECT_EQ(found.steps, routing.steps - warm_up);
        }
      }
  }
}

TEST(CacheSimulator, TheOptimumGrowsWithTheSlots) {
  for (const Routing& routing : all_routings()) {
    int64_t last = 0;
    for (int64_t slots = 1; slots <= routing.shape.layers * routing.shape.experts; ++slots) {
      const int64_t hits = simulate_optimum(routing, slots, 5).hits;
      EXPECT_GE(hits, last);
      last = hits;
    }
  }
}

TEST(CacheSimulator, WithASlotForEveryExpertNothingMisses) {
  for (const Routing& routing : all_routings())
    for (const CachePolicy policy : kPolicies) {
      const CacheFigures found =
          simulate_cache(routing, routing.shape.layers * routing.shape.experts, policy, 0);
      EXPECT_EQ(found.misses, 0);
      EXPECT_EQ(found.hit_rate(), 1.0);
    }
}

// Every expert in turn, one slot too few: the policies that look back miss all of them, the optimum
// all but a few.
TEST(CacheSimulator, KnowsTheWorstOfRecency) {
  Routing routing{.shape = {.layers = 1, .experts = 6, .used = 1}, .steps = 600, .ids = {}};
  for (int64_t step = 0; step < routing.steps; ++step)
    routing.ids.push_back(static_cast<uint16_t>(step % 6));
  for (const CachePolicy policy : {CachePolicy::kLru, CachePolicy::kFifo})
    EXPECT_EQ(simulate_cache(routing, 5, policy, 12).hits, 0);
  EXPECT_NEAR(simulate_optimum(routing, 5, 0).hit_rate(), 5.0 / 6, 0.05);
}

TEST(CacheSimulator, EvenRoutingHitsByTheShareOfSlots) {
  const RoutingShape shape = {.layers = 4, .experts = 64, .used = 4};
  const Routing routing = even_routing(shape, 1, 1500, 9);
  for (const double share : {0.25, 0.5, 0.75}) {
    const auto slots = static_cast<int64_t>(share * 256);
    const CacheFigures lru = simulate_cache(routing, slots, CachePolicy::kLru, 300);
    EXPECT_NEAR(lru.hit_rate(), share, 0.04);
    EXPECT_NEAR(lru.misses_per_step(), 16 * (1 - lru.hit_rate()), 1e-9);
  }
}

// Independent choices by Zipf's law: the more often an expert was used, the likelier it is.
TEST(CacheSimulator, CountsOfUseServeASteadySkew) {
  const Routing routing = skewed_routing(1.2, 2000, 0, 11);
  for (const int64_t slots : {12, 24, 36})
    EXPECT_GE(simulate_cache(routing, slots, CachePolicy::kFrecency, 500).hits,
              simulate_cache(routing, slots, CachePolicy::kLru, 500).hits);
}

TEST(CacheSimulator, ACurveIsItsPoints) {
  const Routing routing = skewed_routing(1.0, 100, 0, 12);
  const std::vector<int64_t> slots = {3, 30, 72};
  const auto curve = simulate_curve(routing, slots, CachePolicy::kFrecency, 10);
  ASSERT_EQ(curve.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(curve[i].slots, slots[i]);
    EXPECT_EQ(curve[i].policy.hits,
              simulate_cache(routing, slots[i], CachePolicy::kFrecency, 10).hits);
    EXPECT_EQ(curve[i].optimum.hits, simulate_optimum(routing, slots[i], 10).hits);
  }
}

TEST(CacheSimulator, EvenRoutingIsThat) {
  const Routing a = even_routing(kShape, 2, 400, 3), b = even_routing(kShape, 2, 400, 3);
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_NE(a.ids, even_routing(kShape, 2, 400, 4).ids);
  std::vector<int64_t> uses(static_cast<size_t>(kShape.experts));
  for (size_t i = 0; i < a.ids.size(); ++i) {
    ASSERT_LT(a.ids[i], kShape.experts);
    if (i % 4 != 0) {
      EXPECT_LT(a.ids[i - 1], a.ids[i]);
    }
    ++uses[a.ids[i]];
  }
  for (const int64_t count : uses) EXPECT_NEAR(static_cast<double>(count), 400, 80);
}

// Tokens 0, 1, ... of sequence s choose expert s * 8 + token in every layer.
TEST(CacheSimulator, TracedSequencesAreCutIntoParts) {
  RoutingTrace trace{.shape = {.layers = 2, .experts = 32, .used = 1}, .steps = {}, .ids = {}};
  const auto add = [&](bool prompt, const std::vector<uint16_t>& experts) {
    trace.steps.push_back({.prompt = prompt,
                           .tokens = static_cast<int64_t>(experts.size()),
                           .first = trace.ids.size()});
    for (int layer = 0; layer < 2; ++layer)
      trace.ids.insert(trace.ids.end(), experts.begin(), experts.end());
  };
  add(true, {31, 31, 31});
  for (const uint16_t t : {0, 1, 2}) add(false, {t});
  add(true, {30, 30});
  for (const uint16_t t : {8, 9}) add(false, {t, static_cast<uint16_t>(t + 8)});
  const auto tokens = [&](int64_t batch, int64_t most) {
    const auto routing = routing_of(trace, batch, most);
    EXPECT_TRUE(routing);
    std::vector<uint16_t> all;
    for (int64_t step = 0; step < routing->steps; ++step) {
      const auto first = routing->of(step, 0), second = routing->of(step, 1);
      EXPECT_TRUE(std::equal(first.begin(), first.end(), second.begin(), second.end()));
      all.insert(all.end(), first.begin(), first.end());
    }
    return all;
  };
  EXPECT_EQ(tokens(1, 100), (std::vector<uint16_t>{0, 1, 2, 8, 9, 16, 17}));
  EXPECT_EQ(tokens(1, 2), (std::vector<uint16_t>{16, 17}));
  EXPECT_EQ(tokens(3, 100), (std::vector<uint16_t>{0, 2, 9, 1, 8, 16}));
  EXPECT_EQ(routing_of(trace, 8, 100).error().code, ErrorCode::kInvalidArgument);
}

TEST(SlotBudget, BytesAndSlotsAgree) {
  const SlotBudget budget{.layers = 23,
                          .experts = 128,
                          .slot_bytes = 6'300'000,
                          .used_bytes = 2'000'000'000,
                          .free_bytes = 30'000'000'000,
                          .later_bytes = 400'000'000};
  const auto with = [&](int64_t vram, int64_t per_layer = 0) {
    SlotBudget b = budget;
    b.vram_bytes = vram;
    b.slots_per_layer = per_layer;
    return b;
  };
  for (const int64_t count : {0, 1, 184, 736, 2943, 2944}) {
    const int64_t bytes = budget.bytes_for(count);
    EXPECT_EQ(with(bytes).slots(), count);
    EXPECT_EQ(with(bytes - 1).wanted_slots(), count - 1);
  }
  EXPECT_EQ(with(budget.bytes_for(99'999)).slots(), 2944) << "no more than there are experts";
  EXPECT_LT(with(1).wanted_slots(), 0);
  EXPECT_EQ(with(0, 8).slots(), 184);
  EXPECT_EQ(with(0, 500).slots(), 2944);
  SlotBudget full = with(0, 8);
  full.free_bytes = budget.later_bytes + budget.bookkeeping_bytes() + 100 * budget.slot_bytes;
  EXPECT_EQ(full.slots(), 100) << "no more than there is room for";
  EXPECT_EQ(full.wanted_slots(), 184);
}

TEST(SlotBudget, StepsThatTouchTooMuchAreStreamed) {
  EXPECT_FALSE(is_streamed(23, 128, 6, 1, 1)) << "a token is never streamed";
  EXPECT_TRUE(is_streamed(23, 128, 6, 4, 184));
  EXPECT_FALSE(is_streamed(23, 128, 6, 4, 23 * 32));
  EXPECT_TRUE(is_streamed(23, 128, 6, 512, 2900));
}

}  // namespace
}  // namespace hlwq::test
