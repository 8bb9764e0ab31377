// How misses are split between bus and host, and which rows the host multiplies.

#include "runtime/experts/host_share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/experts/host_pairs.h"
#include "runtime/experts/stream_trial.h"

namespace hlwq {
namespace {

constexpr int64_t kExperts = 16;

HostShareOptions options(double host_s, double bus_s, std::optional<double> fixed = {}) {
  return {.experts = kExperts, .host_s = host_s, .bus_s = bus_s, .fixed = fixed};
}

// No other split of any number of misses ends earlier by more than what a change must gain.
TEST(HostShare, SplitsSoThatBothEndTogether) {
  for (const double host_s : {20e-6, 60e-6, 128e-6, 400e-6, 2e-3})
    for (const double bus_s : {60e-6, 128e-6, 500e-6}) {
      const HostShare share(options(host_s, bus_s));
      ASSERT_EQ(share.shares().size(), static_cast<size_t>(kExperts) + 1);
      EXPECT_EQ(share.shares()[0], 0);
      for (int64_t m = 1; m <= kExperts; ++m) {
        const int64_t given = share.shares()[static_cast<size_t>(m)];
        ASSERT_GE(given, 0);
        ASSERT_LE(given, m);
        const auto ends = [&](int64_t on_host) {
          const double host = on_host == 0 ? 0 : 12e-6 + static_cast<double>(on_host) * host_s;
          return std::max(host, static_cast<double>(m - on_host) * bus_s);
        };
        EXPECT_DOUBLE_EQ(share.seconds(m), ends(given));
        for (int64_t other = 0; other <= m; ++other)
          EXPECT_LE(ends(given), ends(other) / 0.97 * 1.0001)
              << m << " misses: " << given << " or " << other;
      }
    }
}

TEST(HostShare, AFixedShareIsWhatWasAskedFor) {
  EXPECT_EQ(HostShare(options(1, 1, 0.0)).shares()[6], 0);
  EXPECT_EQ(HostShare(options(1, 1, 0.5)).shares()[6], 3);
  EXPECT_EQ(HostShare(options(1, 1, 1.0)).shares()[6], 6);
  HostShare share(options(1e-4, 1e-4, 0.5));
  EXPECT_TRUE(share.update());
  share.note_host(1, 1.0);
  share.note_step(1, 6, 1.0);
  EXPECT_FALSE(share.update());
  EXPECT_EQ(share.shares()[6], 3);
}

// A device whose step takes 1 ms and 128 us a miss, fewer when the host helps.
class Steps {
 public:
  Steps(HostShare& share, double host_s) : share_(share), host_s_(host_s) {}
  // Layers with four misses each.
  void run(int64_t tokens = 1) {
    constexpr int64_t kLayers = 10, kMisses = 4;
    double seconds = 1e-3;
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const int64_t on_host = share_.shares()[kMisses];
      on_host_ += on_host;
      const double host = on_host == 0 ? 0 : 12e-6 + static_cast<double>(on_host) * host_s_;
      const double bus = static_cast<double>(kMisses - on_host) * 128e-6;
      seconds += std::max(host, bus);
      share_.note_host(on_host, host);
      share_.note_bus(kMisses - on_host, bus);
    }
    share_.note_step(tokens, kLayers * kMisses, seconds);
    static_cast<void>(share_.update());
    seconds_ += seconds;
  }
  int64_t on_host_ = 0;
  double seconds_ = 0;

 private:
  HostShare& share_;
  double host_s_;
};

TEST(HostShare, UsesAHostThatHelps) {
  HostShare share(options(300e-6, 60e-6));
  Steps steps(share, 40e-6);
  for (int i = 0; i < 100; ++i) steps.run();
  EXPECT_FALSE(share.host_hinders());
  steps.seconds_ = 0;
  for (int i = 0; i < 100; ++i) steps.run();
  EXPECT_LT(steps.seconds_, 100 * (1e-3 + 10 * 2 * 128e-6));
  // It is tried for each number of tokens by itself.
  const int64_t before = steps.on_host_;
  steps.run(3);
  steps.run(3);
  EXPECT_LT(steps.on_host_ - before, 60);
}

// Threads that wait for a processor: each question of a step takes long, whatever is asked.
TEST(HostShare, StandsBackWhenTheHostHindersAndTriesItAgain) {
  HostShare share(options(60e-6, 128e-6));
  Steps fast(share, 60e-6);
  for (int i = 0; i < 50; ++i) fast.run();
  EXPECT_GT(share.shares()[4], 0);
  // The means say little of a delay that comes now and then; the steps do.
  int64_t slow_steps = 0, helped_steps = 0;
  int64_t rested = 0;
  for (int step = 0; step < 2000; ++step) {
    if (share.rests()) {
      EXPECT_EQ(share.shares()[4], 0);
      share.rest();
      ++rested;
      continue;
    }
    const bool helped = share.shares()[4] > 0;
    const double late = helped && step % 2 == 0 ? 30e-3 : 0;
    share.note_host(helped ? 2 : 0, 2 * 60e-6);
    share.note_bus(helped ? 2 : 4, helped ? 2 * 128e-6 : 4 * 128e-6);
    share.note_step(1, 40, (helped ? 4e-3 : 1e-3 + 40 * 128e-6) + late);
    static_cast<void>(share.update());
    (helped ? helped_steps : slow_steps) += 1;
  }
  EXPECT_TRUE(share.host_hinders());
  EXPECT_GT(rested, 1500);
  EXPECT_LT(helped_steps, 100) << "of 2,000";
  EXPECT_GT(helped_steps, 16) << "it is tried again";
  // When the load is gone it helps again.
  Steps again(share, 60e-6);
  for (int i = 0; i < 3000; ++i) share.rests() ? share.rest() : again.run();
  EXPECT_FALSE(share.host_hinders());
  EXPECT_GT(share.shares()[4], 0);
}

// Noise does not change shares.
TEST(HostShare, StaysAsItIsForLittle) {
  HostShare share(options(100e-6, 128e-6));
  static_cast<void>(share.update());
  const std::vector<int32_t> before(share.shares().begin(), share.shares().end());
  share.note_bus(1, 135e-6);
  for (int i = 0; i < 64; ++i) share.note_host(1, i % 2 == 0 ? 95e-6 : 105e-6);
  EXPECT_FALSE(share.update());
  EXPECT_EQ(before, std::vector<int32_t>(share.shares().begin(), share.shares().end()));
}

// Layers of streamed steps: both ways are tried, the faster one is kept, a change is noticed.
TEST(StreamTrial, TakesTheFasterWay) {
  StreamTrial trial;
  const auto helped_of = [&](int layers, double with_help, double alone) {
    int helped = 0;
    for (int i = 0; i < layers; ++i) {
      const bool help = trial.next_with_help();
      helped += help ? 1 : 0;
      trial.note(help, help ? with_help : alone);
    }
    return helped;
  };
  EXPECT_EQ(helped_of(8, 2e-4, 1e-4), 4) << "as many of each to begin with";
  EXPECT_LE(helped_of(100, 2e-4, 1e-4), 5);
  EXPECT_TRUE(trial.help_hinders());
  EXPECT_GT(helped_of(2000, 5e-5, 1e-4), 1000) << "it became faster";
  EXPECT_FALSE(trial.help_hinders());
  EXPECT_GE(helped_of(100, 5e-5, 1e-4), 95);
}

TEST(HostPairs, GathersTheRowsOfEachExpert) {
  const std::vector<Mlp> layer(5);
  const std::vector<int32_t> ids = {0, 3, 1, 3, 3, 4, 0, 1};  // four tokens of two
  HostPairs pairs;
  for (int repeat = 0; repeat < 2; ++repeat) {
    const std::vector<int32_t> wanted = {1, 3};
    pairs.gather(layer, wanted, ids, 2);
    EXPECT_EQ(pairs.experts.size(), 2u);
    EXPECT_EQ(pairs.begin, (std::vector<int32_t>{0, 2, 5}));
    EXPECT_EQ(pairs.choices, (std::vector<int32_t>{2, 7, 1, 3, 4}));
    EXPECT_EQ(pairs.tokens, (std::vector<int32_t>{1, 3, 0, 1, 2}));
    pairs.gather(layer, {}, ids, 2);
    EXPECT_EQ(pairs.pairs(), 0);
  }
}

}  // namespace
}  // namespace hlwq
