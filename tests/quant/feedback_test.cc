// BlockKernels::encode_feedback: every version agrees with the scalar one, and its choices are
// what its contract says.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "quant/block_dispatch.h"
#include "quant/search_scales.h"
#include "tests/quant/random_weights.h"

namespace hlwq {
namespace {

constexpr size_t kBlockFloats = size_t{kBlock} * kFeedbackRows;

struct Problem {
  std::vector<float> feedback, penalty, weights, target;
  [[nodiscard]] FeedbackBlock block() const {
    return {.feedback = feedback.data(),
            .penalty = penalty.data(),
            .weights = weights.data(),
            .target = target.data()};
  }
};

Problem random_problem(double coupling, uint64_t seed) {
  Problem p{normal_values(size_t{kBlock} * kBlock, coupling, seed),
            std::vector<float>(kBlock),
            normal_values(kBlockFloats, 0.02, seed + 1),
            {}};
  for (int k = 0; k < kBlock; ++k)
    p.penalty[static_cast<size_t>(k)] =
        static_cast<float>(0.2 + random_uniform(seed + 2, static_cast<uint64_t>(k)));
  p.target = p.weights;
  const auto moved = normal_values(kBlockFloats, 0.001 * coupling * 10, seed + 3);
  for (size_t i = 0; i < moved.size(); ++i) p.target[i] += moved[i];
  return p;
}

struct Chosen {
  std::vector<uint8_t> codes = std::vector<uint8_t>(kBlockFloats, 0xcd);
  std::vector<float> scales = std::vector<float>(kFeedbackRows, NAN);
};

Chosen choose(const BlockKernels& kernels, const Levels& levels, const TrialScales& trials,
              const Problem& problem) {
  const auto table = std::make_unique<NearestTable>();
  build_nearest_table(levels, table.get());
  Chosen chosen;
  kernels.encode_feedback(*table, trials, problem.block(), chosen.codes.data(),
                          chosen.scales.data());
  return chosen;
}

// Cost of a row's codes at a scale, in double, from the definition.
double cost_of(const Problem& p, const Levels& levels, const Chosen& chosen, int row,
               double scale) {
  std::vector<double> error(kBlock), noise(kBlock);
  double cost = 0;
  for (int k = 0; k < kBlock; ++k) {
    const auto at = static_cast<size_t>(k * kFeedbackRows + row);
    double now = p.target[at];
    for (int j = 0; j < k; ++j)
      now += error[static_cast<size_t>(j)] * p.feedback[static_cast<size_t>(j * kBlock + k)];
    const double value = scale * levels[chosen.codes[at]];
    error[static_cast<size_t>(k)] = p.weights[at] - value;
    cost += p.penalty[static_cast<size_t>(k)] * (now - value) * (now - value);
  }
  return cost;
}

TEST(Feedback, VersionsAgreeToTheBit) {
  for (const int bits : {2, 3, 5, 6, 8}) {
    const Levels& levels = codebook(CodebookKind::kGrid, bits);
    const SearchScales scales(levels.size());
    const Problem problem = random_problem(0.05, static_cast<uint64_t>(bits));
    const Chosen scalar = choose(*usable_block_kernels().front(), levels, scales.trials(), problem);
    for (const BlockKernels* kernels : usable_block_kernels()) {
      const Chosen other = choose(*kernels, levels, scales.trials(), problem);
      EXPECT_EQ(other.codes, scalar.codes) << kernels->name << " " << bits;
      EXPECT_EQ(other.scales, scalar.scales) << kernels->name << " " << bits;
    }
  }
}

TEST(Feedback, ScaleIsTheBestForItsCodes) {
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  const SearchScales scales(levels.size());
  const Problem problem = random_problem(0.05, 7);
  const Chosen chosen = choose(*usable_block_kernels().back(), levels, scales.trials(), problem);
  for (int row = 0; row < kFeedbackRows; ++row) {
    const double scale = chosen.scales[static_cast<size_t>(row)];
    const double cost = cost_of(problem, levels, chosen, row, scale);
    for (const double factor : {0.999, 1.001})
      EXPECT_GT(cost_of(problem, levels, chosen, row, scale * factor), cost) << row;
  }
}

// Without coupling the choice is the plain search's.
TEST(Feedback, WithoutCouplingItIsThePlainSearch) {
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  const SearchScales scales(levels.size());
  Problem problem = random_problem(0.0, 11);
  problem.target = problem.weights;
  std::fill(problem.penalty.begin(), problem.penalty.end(), 1.0f);
  const Chosen chosen = choose(*usable_block_kernels().back(), levels, scales.trials(), problem);
  for (int row = 0; row < kFeedbackRows; ++row) {
    // encode_rows rotates first; rotating back before it leaves the same problem.
    std::vector<float> weights(kBlock);
    for (int k = 0; k < kBlock; ++k)
      weights[static_cast<size_t>(k)] =
          problem.weights[static_cast<size_t>(k * kFeedbackRows + row)];
    double plain_error = 0, energy = 0;
    {
      std::vector<float> back(kBlock);
      for (int m = 0; m < kBlock; ++m) {
        double sum = 0;
        for (int n = 0; n < kBlock; ++n)
          sum += (__builtin_popcount(static_cast<unsigned>(m & n)) % 2 != 0 ? -1.0 : 1.0) *
                 weights[static_cast<size_t>(n)];
        back[static_cast<size_t>(m)] = static_cast<float>(sum / std::sqrt(128.0));
      }
      std::vector<uint8_t> codes(kBlock);
      std::vector<uint16_t> norms(1);
      const auto distortion = encode_rows(back, kBlock, levels, NormRule::kSearch, codes, norms);
      ASSERT_TRUE(distortion);
      plain_error = distortion->ww - 2 * distortion->wd + distortion->dd;
      energy = distortion->ww;
    }
    const double cost =
        cost_of(problem, levels, chosen, row, chosen.scales[static_cast<size_t>(row)]);
    // The stored norm is rounded to FP16: up to 2^-22 of the energy.
    EXPECT_NEAR(cost, plain_error, energy * 0x1p-21 + 1e-3 * plain_error) << row;
  }
}

// What the feedback is for: the cost of a product, not of the weights.
TEST(Feedback, CostsLessThanRoundingEachWeight) {
  const Levels& levels = codebook(CodebookKind::kGrid, 4);
  const SearchScales scales(levels.size());
  Problem problem = random_problem(0.08, 13);
  problem.target = problem.weights;
  const Chosen with = choose(*usable_block_kernels().back(), levels, scales.trials(), problem);
  Problem blind = problem;
  std::fill(blind.feedback.begin(), blind.feedback.end(), 0.0f);
  const Chosen without = choose(*usable_block_kernels().back(), levels, scales.trials(), blind);
  double cost_with = 0, cost_without = 0;
  for (int row = 0; row < kFeedbackRows; ++row) {
    const auto r = static_cast<size_t>(row);
    cost_with += cost_of(problem, levels, with, row, with.scales[r]);
    cost_without += cost_of(problem, levels, without, row, without.scales[r]);
  }
  EXPECT_LT(cost_with, 0.8 * cost_without);
}

TEST(Feedback, ZerosAndPeaksStayFinite) {
  const Levels& levels = codebook(CodebookKind::kGrid, 5);
  const SearchScales scales(levels.size());
  Problem problem = random_problem(0.05, 17);
  for (int k = 0; k < kBlock; ++k) {
    problem.weights[static_cast<size_t>(k * kFeedbackRows)] = 0;
    problem.target[static_cast<size_t>(k * kFeedbackRows)] = 0;
    problem.weights[static_cast<size_t>(k * kFeedbackRows + 1)] = k == 5 ? 1e4f : 0.0f;
    problem.target[static_cast<size_t>(k * kFeedbackRows + 1)] = k == 5 ? 1e4f : 0.0f;
  }
  for (const BlockKernels* kernels : usable_block_kernels()) {
    const Chosen chosen = choose(*kernels, levels, scales.trials(), problem);
    for (const float scale : chosen.scales) {
      EXPECT_TRUE(std::isfinite(scale)) << kernels->name;
      EXPECT_GT(scale, 0.0f) << kernels->name;
    }
    EXPECT_LT(*std::max_element(chosen.codes.begin(), chosen.codes.end()), levels.size());
  }
}

}  // namespace
}  // namespace hlwq
