// The sampling rule: every back end draws the ids of the host's row sampler, which tests/ops holds
// against the rule itself.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "ops/sample_row.h"
#include "tests/kernels/backends_under_test.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {
namespace {

using Sample = BackendTest;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// All rows in one call against each row alone on the host.
void expect_same_ids(Backend& backend, int64_t vocabulary,
                     const std::vector<std::vector<float>>& logits,
                     const std::vector<SampleRow>& settings) {
  const auto count = static_cast<int64_t>(logits.size());
  const Rows rows(count, vocabulary);
  for (int64_t r = 0; r < count; ++r)
    std::copy_n(logits[static_cast<size_t>(r)].data(), vocabulary, rows.row(r));
  std::vector<int32_t> ids(logits.size(), -7);
  backend.sample({.logits = rows.view(), .rows = settings, .ids = ids});
  RowSampler sampler;
  for (size_t r = 0; r < logits.size(); ++r) {
    const SampleRow& s = settings[r];
    EXPECT_EQ(ids[r], sampler.sample(logits[r], s))
        << "row " << r << " of " << count << ", vocabulary " << vocabulary << ", 1/temperature "
        << s.inverse_temperature << ", top-k " << s.top_k << ", top-p " << s.top_p << ", min-p "
        << s.min_p << ", penalty " << s.repeat_penalty << ", position " << s.position;
  }
}

std::vector<float> random_logits(Random& random, int64_t vocabulary, double spread) {
  return random.normals(vocabulary, spread);
}

// Every filter alone and together, each at several positions.
std::vector<SampleRow> every_setting(std::span<const int32_t> recent) {
  std::vector<SampleRow> rows;
  for (const float inverse : {0.0f, 0.5f, 1.0f, 1.25f, 30.0f}) {
    for (const int32_t top_k : {0, 1, 5, 1 << 30}) {
      for (const float top_p : {0.0f, 0.3f, 0.95f, 1.0f}) {
        for (const float min_p : {0.0f, 0.05f, 1.0f}) {
          const auto n = static_cast<uint64_t>(rows.size());
          rows.push_back({.inverse_temperature = inverse,
                          .top_k = top_k,
                          .top_p = top_p,
                          .min_p = min_p,
                          .repeat_penalty = n % 3 == 0 ? 1.3f : 1.0f,
                          .seed = 17 + n % 2,
                          .position = 1000 + n,
                          .recent = recent});
        }
      }
    }
  }
  return rows;
}

TEST_P(Sample, EverySettingSmall) {
  Random random(901);
  const auto backend = make({.tokens = 8});
  const std::vector<int32_t> recent = {6, 0, 3};
  const std::vector<SampleRow> settings = every_setting(recent);
  for (size_t first = 0; first + 8 <= settings.size(); first += 8) {
    std::vector<std::vector<float>> logits;
    for (int r = 0; r < 8; ++r) logits.push_back(random_logits(random, 7, 2.0));
    expect_same_ids(*backend, 7, logits,
                    {settings.begin() + static_cast<ptrdiff_t>(first),
                     settings.begin() + static_cast<ptrdiff_t>(first) + 8});
  }
}

// A model's vocabulary, flat and peaked rows.
TEST_P(Sample, EverySettingLarge) {
  Random random(902);
  const auto backend = make({.tokens = 8});
  constexpr int64_t kVocabulary = 131072;
  std::vector<int32_t> recent;
  for (int32_t i = 0; i < 64; ++i) recent.push_back(i * 2039 % 131072);
  const std::vector<SampleRow> settings = every_setting(recent);
  std::vector<std::vector<float>> logits = {random_logits(random, kVocabulary, 0.1),
                                            random_logits(random, kVocabulary, 3.0)};
  for (size_t i = 0; i < settings.size(); i += 7)
    expect_same_ids(*backend, kVocabulary, logits,
                    {settings[i], settings[(i + 3) % settings.size()]});
}

TEST_P(Sample, ManyPositionsOfOneRow) {
  Random random(903);
  const auto backend = make({.tokens = 4});
  const std::vector<float> logits = random_logits(random, 5000, 1.5);
  for (uint64_t position = 0; position < 40; position += 4) {
    std::vector<SampleRow> rows;
    for (uint64_t p = position; p < position + 4; ++p)
      rows.push_back({.inverse_temperature = 1.0f,
                      .top_k = 40,
                      .top_p = 0.9f,
                      .seed = uint64_t{1} << 60,
                      .position = p});
    expect_same_ids(*backend, 5000, {logits, logits, logits, logits}, rows);
  }
}

// Equal logits stand in the order of their ids, also where top-k or top-p cut between them.
TEST_P(Sample, Ties) {
  const auto backend = make({.tokens = 4});
  std::vector<float> logits(3000, 1.0f);
  for (size_t i = 100; i < 3000; i += 100) logits[i] = 2.0f;
  for (const int32_t top_k : {0, 1, 2, 29, 30, 31, 1500}) {
    std::vector<SampleRow> rows;
    for (uint64_t p = 0; p < 3; ++p)
      rows.push_back({.inverse_temperature = p == 0 ? 0.0f : 1.0f,
                      .top_k = top_k,
                      .top_p = p == 2 ? 0.5f : 1.0f,
                      .seed = 5,
                      .position = 77 + p});
    expect_same_ids(*backend, 3000, {logits, logits, logits}, rows);
  }
}

TEST_P(Sample, OddLogits) {
  const auto backend = make({.tokens = 8});
  const std::vector<std::vector<float>> logits = {
      {kNaN, -kInfinity, kNaN, -kInfinity, kNaN, -kInfinity, -kInfinity},  // nothing to choose
      {kNaN, -kInfinity, 1.0f, kNaN, -3e38f, kNaN, 0.5f},
      {1.0f, kInfinity, 2.0f, kInfinity, kNaN, -kInfinity, 3.0f},
      {-kInfinity, -kInfinity, -kInfinity, -3.4e38f, -kInfinity, kNaN, kNaN},
      {-0.0f, 0.0f, -1e-45f, 1e-45f, 0.0f, -0.0f, -1.0f},
      {3.4e38f, -3.4e38f, 0.0f, 3.3e38f, kNaN, 1.0f, 1.0f}};
  const std::vector<int32_t> recent = {1, 3, 4};
  for (const float inverse : {0.0f, 1.0f, kInfinity}) {
    for (const int32_t top_k : {0, 2}) {
      for (const float penalty : {1.0f, 0.5f, 2.0f}) {
        const SampleRow row{.inverse_temperature = inverse,
                            .top_k = top_k,
                            .repeat_penalty = penalty,
                            .seed = 9,
                            .position = 4,
                            .recent = recent};
        expect_same_ids(*backend, 7, logits, std::vector<SampleRow>(logits.size(), row));
      }
    }
  }
  std::vector<int32_t> ids = {5};
  const Rows none(1, 7, logits[0]);
  const SampleRow greedy{};
  backend->sample({.logits = none.view(), .rows = {&greedy, 1}, .ids = ids});
  EXPECT_EQ(ids[0], -1);
}

// More rows than a launch holds, each with its own settings and ids, and many ties; vocabularies
// around the sizes that are cut into parts.
TEST_P(Sample, ManyRows) {
  Random random(904);
  const auto backend = make({.tokens = 130});
  for (const auto& [vocabulary, count] :
       {std::pair{1, 130}, {7, 130}, {2048, 65}, {2049, 64}, {5000, 130}, {262145, 4}}) {
    std::vector<std::vector<float>> logits;
    std::vector<std::vector<int32_t>> recent(static_cast<size_t>(count));
    std::vector<SampleRow> rows;
    for (int r = 0; r < count; ++r) {
      logits.push_back(random_logits(random, vocabulary, 3.0));
      for (float& l : logits.back())
        if (random.below(3) == 0) l = std::round(l * 4) / 4;
      std::vector<int32_t>& ids = recent[static_cast<size_t>(r)];
      const auto step = static_cast<int32_t>(1 + random.below(50));
      for (int32_t id = r % vocabulary; id < vocabulary && ids.size() < 300; id += step)
        ids.push_back(id);
      const double temperature = random.uniform(0.1, 2.0);
      const int64_t most_k = vocabulary < 50 ? 50 : vocabulary / 2;
      rows.push_back(
          {.inverse_temperature = r % 5 == 0 ? 0.0f : static_cast<float>(1 / temperature),
           .top_k = r % 3 == 0 ? 0 : static_cast<int32_t>(1 + random.below(most_k)),
           .top_p = r % 4 == 0 ? 1.0f : static_cast<float>(random.uniform(0.01, 1.0)),
           .min_p = r % 2 == 0 ? static_cast<float>(random.uniform(0.0, 0.1)) : 0.0f,
           .repeat_penalty = r % 2 == 0 ? 1.2f : 1.0f,
           .seed = static_cast<uint64_t>(r),
           .position = static_cast<uint64_t>(r) * 77,
           .recent = ids});
    }
    for (int again = 0; again < 2; ++again)  // nothing may be left of the first call
      expect_same_ids(*backend, vocabulary, logits, rows);
  }
}

// Rows whose recent ids do not fit one launch together.
TEST_P(Sample, EveryIdIsRecent) {
  Random random(905);
  constexpr int32_t kVocabulary = 200000;
  std::vector<int32_t> all(kVocabulary);
  std::iota(all.begin(), all.end(), 0);
  const SampleRow row{
      .inverse_temperature = 1.0f, .repeat_penalty = 1.5f, .seed = 3, .recent = all};
  std::vector<std::vector<float>> logits;
  for (int r = 0; r < 3; ++r) logits.push_back(random_logits(random, kVocabulary, 3.0));
  expect_same_ids(*make({.tokens = 3}), kVocabulary, logits, std::vector<SampleRow>(3, row));
}

HLWQ_ON_EVERY_BACKEND(Sample);

}  // namespace
}  // namespace hlwq::test
