// The sampling rule (ops/sampling.h): its integer helpers against long doubles and 128-bit
// integers, and the host's row sampler against the rule spelled out with full sorts.

#include "ops/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "ops/sample_row.h"

namespace hlwq {
namespace {

constexpr uint64_t kOne = uint64_t{1} << kMassBits;

TEST(SamplingMass, IsTheExponential) {
  EXPECT_EQ(sampling_mass(0.0f), kOne);
  EXPECT_EQ(sampling_mass(-0.0f), kOne);
  EXPECT_EQ(sampling_mass(1e-30f), 0u);
  EXPECT_EQ(sampling_mass(std::numeric_limits<float>::quiet_NaN()), 0u);
  EXPECT_EQ(sampling_mass(-std::numeric_limits<float>::infinity()), 0u);
  EXPECT_EQ(sampling_mass(-28.6f), 0u);
  for (int i = 0; i < 200'000; ++i) {
    const auto x = static_cast<float>(-28.5 * random_uniform(3, static_cast<uint64_t>(i)));
    const double want = std::ldexp(std::exp(static_cast<double>(x)), kMassBits);
    // 24 bits and the rounding to an integer.
    ASSERT_NEAR(static_cast<double>(sampling_mass(x)), want, want * 0x1p-22 + 0.51) << x;
  }
}

TEST(SamplingMass, OfEqualLogitsIsOneWhateverTheyAre) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(mass_of_logit(infinity, infinity, 1.0f), kOne);
  EXPECT_EQ(mass_of_logit(-5.0f, -5.0f, infinity), kOne);
  EXPECT_EQ(mass_of_logit(4.9f, 5.0f, infinity), 0u);
  EXPECT_EQ(mass_of_logit(5.0f, infinity, 1.0f), 0u);
  EXPECT_EQ(mass_of_logit(-infinity, 5.0f, 0.001f), 0u);
}

TEST(SamplingHelpers, Penalty) {
  EXPECT_EQ(penalized_logit(4.0f, 2.0f), 2.0f);
  EXPECT_EQ(penalized_logit(-4.0f, 2.0f), -8.0f);
  EXPECT_EQ(penalized_logit(0.0f, 2.0f), 0.0f);
  EXPECT_EQ(penalized_logit(std::numeric_limits<float>::quiet_NaN(), 2.0f),
            -std::numeric_limits<float>::infinity());
}

TEST(SamplingHelpers, TargetsAreWithinTheSums) {
  EXPECT_EQ(top_p_target(1000, 0.0f), 0u);
  EXPECT_EQ(top_p_target(1000, 0.5f), 500u);
  EXPECT_EQ(top_p_target(1001, 0.5f), 501u);
  for (const uint64_t total : {kOne, kOne + 1, (uint64_t{1} << 62) + 1, (uint64_t{1} << 63) - 1}) {
    EXPECT_EQ(top_p_target(total, 1.0f), total);
    EXPECT_LE(top_p_target(total, 0.99999994f), total);
  }
  EXPECT_EQ(min_p_mass(0.0f), 0u);
  EXPECT_EQ(min_p_mass(1.0f), kOne);
  EXPECT_EQ(min_p_mass(0x1p-41f), 1u);
  for (uint64_t i = 0; i < 10'000; ++i) {
    const uint64_t kept = (random_bits(4, i) >> 1) % ((uint64_t{1} << 63) - kOne) + kOne;
    const uint64_t target = draw_target(7, i, kept);
    EXPECT_LT(target, kept);
    const auto share = static_cast<long double>(random_bits(7, i) >> 11) * 0x1p-53L;
    EXPECT_NEAR(static_cast<double>(target), static_cast<double>(share * kept),
                static_cast<double>(kept) * 0x1p-50 + 1.0);
  }
}

// The rule, by the plainest means.
int32_t by_the_rule(const std::vector<float>& logits, const SampleRow& row) {
  std::vector<float> l;
  for (const float logit : logits)
    l.push_back(std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit);
  for (const int32_t id : row.recent) {
    float& x = l[static_cast<size_t>(id)];
    x = x > 0 ? x / row.repeat_penalty : x * row.repeat_penalty;
  }
  std::vector<size_t> order(l.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return l[a] > l[b]; });
  const float first = l[order[0]];
  if (first == -std::numeric_limits<float>::infinity()) return -1;
  if (row.inverse_temperature == 0) return static_cast<int32_t>(order[0]);
  const auto mass = [&](size_t id) {
    return l[id] == first ? kOne : sampling_mass((l[id] - first) * row.inverse_temperature);
  };
  if (row.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(row.top_k)));
  uint64_t total = 0;
  for (const size_t id : order) total += mass(id);
  if (row.top_p < 1) {
    const auto enough = static_cast<uint64_t>(
        std::ceil(static_cast<double>(row.top_p) * static_cast<double>(total)));
    size_t keep = 1;
    uint64_t sum = mass(order[0]);
    while (keep < order.size() && sum < enough) sum += mass(order[keep++]);
    order.resize(keep);
  }
  const auto least = static_cast<uint64_t>(std::ceil(static_cast<double>(row.min_p) * 0x1p40));
  std::erase_if(order, [&](size_t id) { return mass(id) < least; });
  std::sort(order.begin(), order.end());
  uint64_t kept = 0;
  for (const size_t id : order) kept += mass(id);
  const uint64_t u53 = random_bits(row.seed, row.position) >> 11;
  const auto target = static_cast<uint64_t>((static_cast<unsigned __int128>(u53) * kept) >> 53);
  uint64_t running = 0;
  for (const size_t id : order) {
    running += mass(id);
    if (running > target) return static_cast<int32_t>(id);
  }
  return -2;
}

TEST(RowSampler, FollowsTheRule) {
  RowSampler sampler;
  uint64_t n = 0;
  for (const size_t vocabulary : {size_t{1}, size_t{7}, size_t{300}, size_t{4000}}) {
    for (const double spread : {0.0, 0.3, 6.0, 60.0}) {
      std::vector<float> logits(vocabulary);
      for (float& l : logits) {
        l = static_cast<float>(spread * (random_uniform(8, ++n) - 0.5));
        if (n % 11 == 0) l = std::numeric_limits<float>::quiet_NaN();
        if (n % 5 == 0) l = std::round(l);  // equals
      }
      const std::vector<int32_t> recent = {0, static_cast<int32_t>(vocabulary) - 1};
      for (const float inverse : {0.0f, 0.7f, 1.0f, 8.0f}) {
        for (const int32_t top_k : {0, 1, 2, 40, 1'000'000}) {
          for (const float top_p : {0.0f, 0.4f, 0.9f, 1.0f}) {
            for (const float min_p : {0.0f, 0.1f, 1.0f}) {
              const SampleRow row{.inverse_temperature = inverse,
                                  .top_k = top_k,
                                  .top_p = top_p,
                                  .min_p = min_p,
                                  .repeat_penalty = n % 2 == 0 ? 1.5f : 1.0f,
                                  .seed = 21,
                                  .position = ++n,
                                  .recent = std::span(recent).first(vocabulary == 1 ? 1 : 2)};
              ASSERT_EQ(sampler.sample(logits, row), by_the_rule(logits, row))
                  << vocabulary << " ids, spread " << spread << ", " << inverse << ' ' << top_k
                  << ' ' << top_p << ' ' << min_p;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace hlwq
