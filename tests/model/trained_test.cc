// The small trained model of the repository against FP32 results of transformers.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/model/model_under_test.h"
#include "tests/model/quantized_checkpoint.h"

namespace hlwq::test {
namespace {

constexpr double kTolerance = 1e-4;  // of the largest value, as for the random models

class TrainedModel : public testing::TestWithParam<std::string> {
 protected:
  TrainedModel()
      : goldens_(std::string(HLWQ_TEST_DATA) + "/tiny_goldens/goldens.safetensors"),
        m_(ModelUnderTest::load(std::string(HLWQ_SOURCE_DIR) + "/models/tiny-nemotron-h",
                                GetParam())) {}
  void SetUp() override { ASSERT_NE(m_.model, nullptr); }

  [[nodiscard]] bool slow() const { return GetParam().starts_with("reference"); }
  [[nodiscard]] std::span<const float> row(const std::vector<float>& logits, size_t t) const {
    const auto v = static_cast<size_t>(m_.vocabulary());
    return std::span(logits).subspan(t * v, v);
  }

  Goldens goldens_;
  ModelUnderTest m_;
};

TEST_P(TrainedModel, LogitsAndHiddenStates) {
  for (const std::string prompt : {"a", "b", "c"}) {  // 7, 130 and 512 tokens
    std::vector<float> hidden;
    StepObserver observer;
    observer.hidden = [&](int64_t index, F32View x) {
      // The golden list ends with the normalized state, not with the last residual.
      if (index == static_cast<int64_t>(m_.model->config().layers.size())) return;
      for (int64_t t = 0; t < x.rows; ++t) hidden.insert(hidden.end(), x.row(t), x.row(t) + x.cols);
    };
    const std::vector<float> logits = m_.run(goldens_.ints(prompt + ".ids"), 0, 0, &observer);
    const size_t last = logits.size() / static_cast<size_t>(m_.vocabulary()) - 1;
    EXPECT_LE(relative_to_max(row(logits, last), goldens_.floats(prompt + ".last_logits")),
              kTolerance)
        << prompt;
    const auto ids = goldens_.ints(prompt + ".top20_ids");
    std::vector<float> ours;
    for (size_t i = 0; i < ids.size(); ++i)
      ours.push_back(row(logits, i / 20)[static_cast<size_t>(ids[i])]);
    EXPECT_LE(relative_to_max(ours, goldens_.floats(prompt + ".top20_logits")), kTolerance)
        << prompt;
    if (prompt == "a") {
      EXPECT_LE(relative_to_max(hidden, goldens_.floats("a.hidden")), kTolerance);
    }
  }
}

TEST_P(TrainedModel, GreedyTokens) {
  for (const std::string prompt : {"a", "b", "c"}) {
    if (slow() && prompt != "a") continue;
    EXPECT_EQ(m_.greedy(goldens_.ints(prompt + ".ids"), 32), goldens_.ints(prompt + ".greedy32"))
        << prompt;
  }
}

// Negative log likelihood of windows of WikiText-2, each on its own. `ppl` checks all 64.
TEST_P(TrainedModel, LikelihoodOfText) {
  constexpr size_t kWindow = 512;
  const auto ids = goldens_.ints("wiki.test.raw.first_1024_ids");
  const auto golden = goldens_.doubles("wiki.test.raw.window_nll");
  for (size_t w = 0; w < (slow() ? 1 : ids.size() / kWindow); ++w) {
    const auto window = std::span(ids).subspan(w * kWindow, kWindow);
    const std::vector<float> logits = m_.run(window);
    double nll = 0;
    for (size_t t = 0; t + 1 < kWindow; ++t) {
      const auto scores = row(logits, t);
      const double largest = *std::max_element(scores.begin(), scores.end());
      double sum = 0;
      for (const float s : scores) sum += std::exp(s - largest);
      nll += largest + std::log(sum) - scores[static_cast<size_t>(window[t + 1])];
    }
    // FP32 logits at 1e-4 of about 20 change a token's likelihood by at most 0.004; the mean over a
    // window by far less.
    EXPECT_NEAR(nll / (kWindow - 1), golden[w] / (kWindow - 1), 2e-4) << "window " << w;
  }
}

// Mean over rows of sum p ln(p / q), p and q the softmax of the logits.
double mean_divergence(std::span<const float> p_logits, std::span<const float> q_logits,
                       size_t vocabulary) {
  double sum = 0;
  for (size_t begin = 0; begin < p_logits.size(); begin += vocabulary) {
    const auto p = p_logits.subspan(begin, vocabulary), q = q_logits.subspan(begin, vocabulary);
    double p_total = 0, q_total = 0;
    for (size_t i = 0; i < vocabulary; ++i) p_total += std::exp(p[i]), q_total += std::exp(q[i]);
    for (size_t i = 0; i < vocabulary; ++i) {
      const double share = std::exp(p[i]) / p_total;
      sum += share * ((p[i] - std::log(p_total)) - (q[i] - std::log(q_total)));
    }
  }
  return sum / (static_cast<double>(p_logits.size()) / static_cast<double>(vocabulary));
}

// The quantized trained model: int8 activations cost a mean KL divergence of at most 2e-3 between
// back ends or arithmetics (design D1), against 0.024 of the 5-bit weights themselves.
TEST(TrainedCodedModel, IntegerArithmeticCostsLittle) {
  const std::string folder = std::string(HLWQ_SOURCE_DIR) + "/models/tiny-nemotron-h";
  const Goldens goldens(std::string(HLWQ_TEST_DATA) + "/tiny_goldens/goldens.safetensors");
  const auto ids = goldens.ints("a.ids");
  const TemporaryCheckpoint coded(code_matrices(read_tensors(folder), {}), folder);
  ModelUnderTest exact = ModelUnderTest::load(coded.folder(), "reference-exact");
  ASSERT_NE(exact.model, nullptr);
  const auto v = static_cast<size_t>(exact.vocabulary());
  const auto wanted = exact.run(ids);
  ModelUnderTest plain = ModelUnderTest::load(folder, backend_names("exact").back());
  ASSERT_NE(plain.model, nullptr);
  EXPECT_LT(mean_divergence(plain.run(ids), wanted, v), 0.1);
  for (const std::string& backend : backend_names("int8")) {
    ModelUnderTest integer = ModelUnderTest::load(coded.folder(), backend);
    ASSERT_NE(integer.model, nullptr);
    EXPECT_LE(mean_divergence(wanted, integer.run(ids), v), 2e-3) << backend;
    // 5.125 bits a padded weight: the experts' down_proj, 5.2 M weights, pads 160 columns to 256.
    EXPECT_LT(static_cast<double>(integer.model->weight_bytes()) * 8,
              5.2 * (17'624'672 + 0.6 * 5.25e6));
  }
}

INSTANTIATE_TEST_SUITE_P(Tiny, TrainedModel, testing::ValuesIn(backend_names("exact")),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace hlwq::test
