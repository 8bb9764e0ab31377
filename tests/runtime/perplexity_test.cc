#include "runtime/perplexity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/row_statistics.h"
#include "tests/runtime/fake_model.h"

namespace hlwq {
namespace {

std::vector<double> log_softmax(const std::vector<float>& row) {
  long double sum = 0;
  for (const float x : row) sum += std::exp(static_cast<long double>(x));
  std::vector<double> out;
  for (const float x : row) out.push_back(static_cast<double>(x - std::log(sum)));
  return out;
}

std::vector<float> random_row(size_t n, uint64_t seed, double scale) {
  std::vector<float> row(n);
  for (size_t i = 0; i < n; ++i)
    row[i] = static_cast<float>(scale * (random_uniform(seed, i) - 0.5));
  return row;
}

TEST(RowStatistics, MatchesLongDouble) {
  for (const size_t n : {1, 2, 3, 4, 5, 63, 64, 1001}) {
    for (const double scale : {0.1, 10.0, 80.0}) {
      SCOPED_TRACE(testing::Message() << "n=" << n << " scale=" << scale);
      const std::vector<float> reference = random_row(n, 3, scale), row = random_row(n, 4, scale);
      const std::vector<double> p = log_softmax(reference), q = log_softmax(row);
      double kl = 0;
      for (size_t i = 0; i < n; ++i) kl += std::exp(p[i]) * (p[i] - q[i]);
      // The exponential is within 1e-12; sums of 1001 terms in double add less.
      for (const size_t target : {size_t{0}, n - 1})
        EXPECT_NEAR(negative_log_likelihood(row, static_cast<int64_t>(target)), -q[target],
                    1e-11 * scale + 1e-12);
      EXPECT_NEAR(compare_rows(reference, row, 0).kl, kl, 1e-10 * scale);
      EXPECT_EQ(compare_rows(reference, reference, 0).kl, 0.0);
      for (const auto target : {int64_t{0}, static_cast<int64_t>(n) - 1}) {
        const RowComparison both = compare_rows(reference, row, target);
        EXPECT_EQ(both.nll, negative_log_likelihood(row, target));
        EXPECT_EQ(both.reference_nll, negative_log_likelihood(reference, target));
      }
    }
  }
}

TEST(RowStatistics, SurvivesExtremes) {
  std::vector<float> row(100, -30000.0f);
  row[17] = 30000.0f;
  EXPECT_EQ(negative_log_likelihood(row, 17), 0.0);
  EXPECT_EQ(negative_log_likelihood(row, 3), 60000.0);
  EXPECT_EQ(compare_rows(row, row, 17).kl, 0.0);
  row[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(negative_log_likelihood(row, 17)));
  row[5] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(negative_log_likelihood(row, 17)));
}

TEST(RowStatistics, EqualLargestLogitsGoToTheLowerId) {
  const std::vector<float> a = {1, 3, 3, 0}, b = {0, 2, 1, 0}, c = {0, 1, 2, 0};
  EXPECT_TRUE(compare_rows(a, b, 0).same_top);
  EXPECT_FALSE(compare_rows(a, c, 0).same_top);
}

class PerplexityTest : public testing::Test {
 protected:
  static constexpr int64_t kVocabulary = 37;
  std::vector<int32_t> text(size_t n) const {
    std::vector<int32_t> ids(n);
    for (size_t i = 0; i < n; ++i)
      ids[i] = static_cast<int32_t>(random_bits(21, i) % static_cast<uint64_t>(kVocabulary));
    return ids;
  }
  Result<PerplexityReport> measure(const std::vector<int32_t>& ids, const PerplexitySettings& s,
                                   int64_t step_tokens = 512, FakeModel* reference = nullptr) {
    const ScoredModel scored = {&backend_, &model_, step_tokens};
    const ScoredModel other = {&backend_, reference, step_tokens};
    return measure_perplexity(scored, reference != nullptr ? &other : nullptr, ids, s, pool_);
  }
  FakeBackend backend_;
  FakeModel model_{kVocabulary};
  ThreadPool pool_{2};
};

TEST_F(PerplexityTest, IsTheMeanOverWindowsOfTheirOwn) {
  const std::vector<int32_t> ids = text(107);
  constexpr size_t kWindow = 20, kWindows = 5;
  std::vector<double> window_nll;
  double all = 0;
  for (size_t w = 0; w < kWindows; ++w) {
    double sum = 0;
    for (size_t t = 0; t + 1 < kWindow; ++t) {
      const std::span<const int32_t> seen(ids.data() + w * kWindow, t + 1);
      sum -= log_softmax(model_.logits_after(seen))[static_cast<size_t>(ids[w * kWindow + t + 1])];
    }
    all += sum;
    window_nll.push_back(sum / (kWindow - 1));
  }
  const double mean = all / (kWindows * (kWindow - 1));
  double squares = 0;
  for (const double x : window_nll) squares += (x - mean) * (x - mean);
  const double standard_error = std::sqrt(squares / (kWindows - 1)) / std::sqrt(double{kWindows});

  // However many windows share a step, and wherever they are cut.
  for (const int64_t step_tokens : {7, 20, 45, 512}) {
    SCOPED_TRACE(step_tokens);
    model_.widest_step_ = 0;
    const auto got = measure(ids, {.window = kWindow}, step_tokens);
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_NEAR(got->nll, mean, 1e-10);
    EXPECT_NEAR(got->ppl, std::exp(mean), 1e-8);
    EXPECT_NEAR(got->nll_stderr, standard_error, 1e-10);
    EXPECT_NEAR(got->ppl_stderr, standard_error * std::exp(mean), 1e-8);
    EXPECT_EQ(got->predictions, 95);
    EXPECT_EQ(got->windows, 5);
    EXPECT_FALSE(got->divergence);
    EXPECT_LE(model_.widest_step_, step_tokens);
  }
  EXPECT_EQ(model_.widest_step_, 100) << "five windows fit one step of 512";
}

TEST_F(PerplexityTest, FewerWindowsOnRequest) {
  const std::vector<int32_t> ids = text(200);
  const auto two = measure(ids, {.window = 20, .windows = 2});
  const auto cut = measure({ids.begin(), ids.begin() + 40}, {.window = 20});
  ASSERT_TRUE(two && cut);
  EXPECT_EQ(two->nll, cut->nll);
  const auto one = measure(ids, {.window = 20, .windows = 1});
  ASSERT_TRUE(one);
  EXPECT_EQ(one->nll_stderr, 0.0);
}

TEST_F(PerplexityTest, DivergenceFromAReference) {
  const std::vector<int32_t> ids = text(64);
  FakeModel reference(kVocabulary);
  model_.noise_ = 2.0f;
  constexpr size_t kWindows = 4, kEach = 15;
  std::vector<double> kl, reference_nll;
  std::vector<double> kl_of(kWindows), same_of(kWindows), difference_of(kWindows);
  for (size_t w = 0; w < kWindows; ++w) {
    for (size_t t = 0; t < kEach; ++t) {
      const std::span<const int32_t> seen(ids.data() + w * 16, t + 1);
      const auto target = static_cast<size_t>(ids[w * 16 + t + 1]);
      const std::vector<float> r = reference.logits_after(seen), x = model_.logits_after(seen);
      const std::vector<double> p = log_softmax(r), q = log_softmax(x);
      double sum = 0;
      for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
      kl.push_back(sum);
      reference_nll.push_back(-p[target]);
      kl_of[w] += sum / kEach;
      same_of[w] += (std::max_element(r.begin(), r.end()) - r.begin() ==
                             std::max_element(x.begin(), x.end()) - x.begin()
                         ? 1.0
                         : 0.0) /
                    kEach;
      difference_of[w] += (p[target] - q[target]) / kEach;
    }
  }
  const auto mean = [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  const auto standard_error = [&](const std::vector<double>& values) {
    double squares = 0;
    for (const double x : values) squares += (x - mean(values)) * (x - mean(values));
    return std::sqrt(squares / (kWindows - 1)) / std::sqrt(double{kWindows});
  };
  std::vector<double> sorted = kl;
  std::sort(sorted.begin(), sorted.end());
  const auto got = measure(ids, {.window = 16}, 40, &reference);
  ASSERT_TRUE(got) << got.error().message;
  ASSERT_TRUE(got->divergence);
  const DivergenceReport& from = *got->divergence;
  EXPECT_NEAR(from.kl_mean, mean(kl), 1e-10);
  EXPECT_NEAR(from.kl_mean_stderr, standard_error(kl_of), 1e-10);
  EXPECT_NEAR(from.kl_median, sorted[29], 1e-10);  // half of 60
  EXPECT_NEAR(from.kl_p99, sorted[59], 1e-10);     // 99 % of 60, rounded up
  EXPECT_NEAR(from.kl_p999, sorted[59], 1e-10);
  EXPECT_NEAR(from.top1, mean(same_of), 1e-12);
  EXPECT_NEAR(from.top1_stderr, standard_error(same_of), 1e-12);
  EXPECT_NEAR(from.reference_nll, mean(reference_nll), 1e-10);
  EXPECT_NEAR(from.nll_difference_stderr, standard_error(difference_of), 1e-10);
  EXPECT_NEAR(got->nll - from.reference_nll, mean(difference_of), 1e-10);
  EXPECT_GT(from.kl_mean, 0.01);
  EXPECT_GT(from.top1_stderr, 0);

  FakeModel twin(kVocabulary);
  model_.noise_ = 0;
  const auto none = measure(ids, {.window = 16}, 512, &twin);
  ASSERT_TRUE(none);
  EXPECT_EQ(none->divergence->kl_mean, 0.0);
  EXPECT_EQ(none->divergence->kl_mean_stderr, 0.0);
  EXPECT_EQ(none->divergence->top1, 1.0);
  EXPECT_EQ(none->divergence->reference_nll, none->nll);
  EXPECT_EQ(none->divergence->nll_difference_stderr, 0.0);
}

TEST_F(PerplexityTest, HandsOverTheScoresOfEachWindow) {
  const std::vector<int32_t> ids = text(64);
  FakeModel reference(kVocabulary);
  model_.noise_ = 2.0f;
  std::vector<int64_t> windows;
  double nll = 0, kl = 0;
  const auto got = measure(ids,
                           {.window = 16,
                            .on_window =
                                [&](int64_t window, const PredictionScores& scores) {
                                  windows.push_back(window);
                                  for (size_t i = 0; i < 15; ++i) {
                                    const size_t at = static_cast<size_t>(window) * 15 + i;
                                    nll += scores.nll[at] / 60;
                                    kl += scores.kl[at] / 60;
                                  }
                                  return true;
                                }},
                           40, &reference);
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(windows, (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_NEAR(nll, got->nll, 1e-10);
  EXPECT_NEAR(kl, got->divergence->kl_mean, 1e-10);

  const auto stopped = measure(
      ids, {.window = 16,
            .on_window = [](int64_t window, const PredictionScores&) { return window < 1; }});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
}

TEST_F(PerplexityTest, ReportsWhatCannotBeMeasured) {
  const auto code = [](const auto& result) {
    return result ? std::nullopt : std::optional(result.error().code);
  };
  EXPECT_EQ(code(measure(text(19), {.window = 20})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(measure({}, {.window = 20})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(measure(text(40), {.window = 1})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(measure(text(40), {.window = 20, .windows = 3})), ErrorCode::kInvalidArgument);
  FakeModel smaller(kVocabulary - 1);
  EXPECT_EQ(code(measure(text(40), {.window = 20}, 512, &smaller)), ErrorCode::kInvalidArgument);
  const std::atomic<bool> cancel = true;
  EXPECT_EQ(code(measure(text(40), {.window = 20, .cancel = &cancel})), ErrorCode::kCancelled);
  model_.poisoned_ = 5;
  const auto poisoned = measure(text(40), {.window = 20});
  ASSERT_FALSE(poisoned);
  EXPECT_EQ(poisoned.error().code, ErrorCode::kBadValue);
  EXPECT_NE(poisoned.error().message.find("window 0, token 0"), std::string::npos);
}

TEST_F(PerplexityTest, TellsItsProgress) {
  std::vector<int64_t> done;
  ASSERT_TRUE(measure(text(100),
                      {.window = 20,
                       .progress =
                           [&](int64_t d, int64_t total) {
                             done.push_back(d);
                             EXPECT_EQ(total, 5);
                           }},
                      40));
  EXPECT_EQ(done, (std::vector<int64_t>{2, 4, 5}));
}

}  // namespace
}  // namespace hlwq
