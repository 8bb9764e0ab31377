#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "base/random.h"
#include "ops/sample_row.h"

namespace hlwq {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> random_logits(size_t n, uint64_t seed) {
  std::vector<float> logits(n);
  for (size_t i = 0; i < n; ++i) logits[i] = static_cast<float>(6 * random_uniform(seed, i) - 3);
  return logits;
}

// The id a request with these settings gets.
class Drawer {
 public:
  explicit Drawer(const SamplerSettings& settings) : settings_(settings) {}
  int32_t draw(const std::vector<float>& logits, const std::vector<int32_t>& earlier,
               uint64_t position) {
    Sampler sampler(settings_, static_cast<int64_t>(logits.size()));
    return rows_.sample(logits, sampler.row(earlier, position));
  }

 private:
  SamplerSettings settings_;
  RowSampler rows_;
};

// The distribution the settings describe, by the plainest means: full sort, one filter after the
// other. Independent of integers and heaps.
std::vector<double> distribution(const SamplerSettings& s, const std::vector<float>& logits,
                                 const std::vector<int32_t>& earlier) {
  std::vector<double> l(logits.begin(), logits.end());
  const size_t window = std::min<size_t>(static_cast<size_t>(s.repeat_window), earlier.size());
  const std::set<int32_t> recent(earlier.end() - static_cast<ptrdiff_t>(window), earlier.end());
  for (const int32_t id : recent) {
    double& x = l[static_cast<size_t>(id)];
    x = x > 0 ? x / s.repeat_penalty : x * s.repeat_penalty;
  }
  std::vector<size_t> order(l.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return l[a] > l[b]; });
  if (s.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(s.top_k)));
  std::vector<double> p;
  double total = 0;
  for (const size_t i : order) p.push_back(std::exp((l[i] - l[order[0]]) / s.temperature));
  for (const double x : p) total += x;
  double running = 0;
  size_t keep = 0;
  while (keep < p.size() && (keep == 0 || (running < s.top_p * total && p[keep] >= s.min_p * p[0])))
    running += p[keep++];
  std::vector<double> out(l.size(), 0.0);
  for (size_t i = 0; i < keep; ++i) out[order[i]] = p[i] / running;
  return out;
}

// Pearson's statistic of `draws` samples against the expected distribution; anything drawn that
// cannot be drawn fails at once.
void expect_distribution(const SamplerSettings& settings, const std::vector<float>& logits,
                         const std::vector<int32_t>& earlier) {
  const std::vector<double> expected = distribution(settings, logits, earlier);
  constexpr int kDraws = 20000;
  std::vector<int> counts(logits.size(), 0);
  Drawer sampler(settings);
  for (int i = 0; i < kDraws; ++i)
    ++counts[static_cast<size_t>(sampler.draw(logits, earlier, static_cast<uint64_t>(i)))];
  double statistic = 0, freedom = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (expected[i] == 0) {
      ASSERT_EQ(counts[i], 0) << "id " << i << " is filtered out";
      continue;
    }
    const double e = expected[i] * kDraws;
    statistic += (counts[i] - e) * (counts[i] - e) / e;
    freedom += 1;
  }
  // Mean `freedom`, variance 2 `freedom`: six standard deviations. The draws are fixed by the seed.
  EXPECT_LT(statistic, freedom + 6 * std::sqrt(2 * freedom) + 1e-9);
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowerIdOfEquals) {
  Drawer greedy({.temperature = 0});
  EXPECT_EQ(greedy.draw(std::vector<float>{1, 5, 5, 2}, {}, 0), 1);
  EXPECT_EQ(greedy.draw(std::vector<float>{-4, -3, -9}, {}, 7), 1);
  EXPECT_EQ(greedy.draw(std::vector<float>{0}, {}, 0), 0);
}

TEST(Sampler, NanCountsAsImpossible) {
  const std::vector<float> logits = {kNaN, 1, kNaN, 3, -kInfinity};
  EXPECT_EQ(Drawer({.temperature = 0}).draw(logits, {}, 0), 3);
  Drawer sampler({.temperature = 2.0});
  std::set<int32_t> seen;
  for (uint64_t i = 0; i < 500; ++i) seen.insert(sampler.draw(logits, {}, i));
  EXPECT_EQ(seen, (std::set<int32_t>{1, 3}));
}

TEST(Sampler, InfiniteLogitsWinAndAreShared) {
  const std::vector<float> logits = {1, kInfinity, 2, kInfinity};
  EXPECT_EQ(Drawer({.temperature = 0}).draw(logits, {}, 0), 1);
  Drawer sampler({.temperature = 1.0});
  std::set<int32_t> seen;
  for (uint64_t i = 0; i < 200; ++i) seen.insert(sampler.draw(logits, {}, i));
  EXPECT_EQ(seen, (std::set<int32_t>{1, 3}));
}

TEST(Sampler, FollowsTheDistribution) {
  const std::vector<float> logits = random_logits(40, 11);
  expect_distribution({.temperature = 1.0, .seed = 5}, logits, {});
  expect_distribution({.temperature = 0.5, .seed = 6}, logits, {});
  expect_distribution({.temperature = 3.0, .seed = 7}, logits, {});
}

TEST(Sampler, FiltersOneByOneAndTogether) {
  const std::vector<float> logits = random_logits(40, 12);
  expect_distribution({.temperature = 1.0, .top_k = 5, .seed = 1}, logits, {});
  expect_distribution({.temperature = 1.0, .top_p = 0.6, .seed = 2}, logits, {});
  expect_distribution({.temperature = 1.0, .min_p = 0.2, .seed = 3}, logits, {});
  expect_distribution({.temperature = 1.3, .top_k = 12, .top_p = 0.8, .min_p = 0.1, .seed = 4},
                      logits, {});
  expect_distribution({.temperature = 1.0, .top_k = 1000, .seed = 5}, logits, {});
}

TEST(Sampler, FiltersAlwaysLeaveTheMostLikely) {
  const std::vector<float> logits = {0, 3, 1};
  EXPECT_EQ(Drawer({.temperature = 1, .top_p = 0.0}).draw(logits, {}, 0), 1);
  EXPECT_EQ(Drawer({.temperature = 1, .min_p = 1.0}).draw(logits, {}, 0), 1);
  EXPECT_EQ(Drawer({.temperature = 1, .top_k = 1}).draw(logits, {}, 0), 1);
  EXPECT_EQ(Drawer({.temperature = 1e-300}).draw(logits, {}, 0), 1);
}

TEST(Sampler, PenalizesEachRecentIdOnceOnBothSidesOfZero) {
  const std::vector<float> logits = {4, 3.5f, -1, -1.5f};
  // 4 / 1.25 = 3.2 < 3.5; twice in the window counts once (4 / 1.5625 would give 2.56).
  EXPECT_EQ(Drawer({.temperature = 0, .repeat_penalty = 1.25})
                .draw(logits, std::vector<int32_t>{0, 0}, 0),
            1);
  EXPECT_EQ(Drawer({.temperature = 0, .repeat_penalty = 1.1})
                .draw(logits, std::vector<int32_t>{0, 0, 0}, 0),
            0);  // 4 / 1.1 = 3.64
  // Negative logits move down: -1 * 2 = -2 < -1.5.
  EXPECT_EQ(Drawer({.temperature = 0, .repeat_penalty = 2})
                .draw(std::vector<float>{-1, -1.5f}, std::vector<int32_t>{0}, 0),
            1);
  expect_distribution({.temperature = 1.0, .repeat_penalty = 1.7, .repeat_window = 3, .seed = 9},
                      random_logits(12, 13), {1, 2, 3, 4, 5, 5});
}

TEST(Sampler, OnlyTheWindowIsRecent) {
  const std::vector<float> logits = {4, 3.5f};
  const std::vector<int32_t> earlier = {0, 1, 1};
  const SamplerSettings two = {.temperature = 0, .repeat_penalty = 2, .repeat_window = 2};
  EXPECT_EQ(Drawer(two).draw(logits, earlier, 0), 0);
  const SamplerSettings all = {.temperature = 0, .repeat_penalty = 1.25, .repeat_window = 100};
  EXPECT_EQ(Drawer(all).draw(logits, std::vector<int32_t>{0}, 0), 1);
  const SamplerSettings none = {.temperature = 0, .repeat_penalty = 9, .repeat_window = 0};
  EXPECT_EQ(Drawer(none).draw(logits, earlier, 0), 0);
}

TEST(Sampler, DependsOnSeedAndPositionAlone) {
  const std::vector<float> logits = random_logits(1000, 14);
  Drawer one({.temperature = 1, .seed = 42}), two({.temperature = 1, .seed = 42});
  Drawer other({.temperature = 1, .seed = 43});
  std::vector<int32_t> forward, backward, differently;
  for (uint64_t i = 0; i < 50; ++i) forward.push_back(one.draw(logits, {}, i));
  for (uint64_t i = 50; i-- > 0;) backward.push_back(two.draw(logits, {}, i));
  for (uint64_t i = 0; i < 50; ++i) differently.push_back(other.draw(logits, {}, i));
  std::reverse(backward.begin(), backward.end());
  EXPECT_EQ(forward, backward);
  EXPECT_NE(forward, differently);
}

TEST(Sampler, RecentIdsAreDistinctAndInsideTheVocabulary) {
  Sampler sampler({.repeat_penalty = 1.1, .repeat_window = 6}, 10);
  const std::vector<int32_t> earlier = {9, 4, 10, 4, -1, 2, 4};
  const SampleRow row = sampler.row(earlier, 3);
  EXPECT_EQ(std::vector<int32_t>(row.recent.begin(), row.recent.end()),
            (std::vector<int32_t>{2, 4}));
  EXPECT_EQ(row.position, 3u);
  EXPECT_TRUE(Sampler({.repeat_window = 6}, 10).row(earlier, 3).recent.empty()) << "no penalty";
}

}  // namespace
}  // namespace hlwq
