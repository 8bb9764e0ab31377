// Three small random models against float32 results of transformers (made by a script that also
// holds a float64 model; both agree to 2e-6 of the largest logit). Each model comes as BF16 in
// NVIDIA's names (b in two shards) and as F32 in transformers' own names with fused experts; the
// values are the same, so one set of goldens serves both.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "tests/model/model_under_test.h"

namespace hlwq::test {
namespace {

// An F32 engine: 1e-4 of the largest value (fixed by the goldens' makers; FP32 sums in another
// order leave about 2e-6).
constexpr double kTolerance = 1e-4;
// Same model, same arithmetic, other cuts of the prompt.
constexpr double kCutTolerance = 1e-5;

using Parameters = std::tuple<std::string, std::string, std::string>;  // model, checkpoint, backend

class NemotronGolden : public testing::TestWithParam<Parameters> {
 protected:
  NemotronGolden()
      : folder_(std::string(HLWQ_TEST_DATA) + "/nemotron_h_goldens/" + std::get<0>(GetParam())),
        goldens_(folder_ + "/goldens.safetensors"),
        m_(ModelUnderTest::load(folder_ + "/" + std::get<1>(GetParam()), std::get<2>(GetParam()))) {
  }
  void SetUp() override { ASSERT_NE(m_.model, nullptr); }

  [[nodiscard]] std::vector<int32_t> ids(int length) const {
    return goldens_.ints("ids.T" + std::to_string(length));
  }
  [[nodiscard]] std::span<const float> row(const std::vector<float>& logits, size_t t) const {
    const auto v = static_cast<size_t>(m_.vocabulary());
    return std::span(logits).subspan(t * v, v);
  }

  std::string folder_;
  Goldens goldens_;
  ModelUnderTest m_;
};

TEST_P(NemotronGolden, Logits) {
  for (const int length : {1, 7, 130, 300}) {
    const std::string tag = ".T" + std::to_string(length);
    const std::vector<float> logits = m_.run(ids(length));
    const auto last = static_cast<size_t>(length) - 1;
    EXPECT_LE(relative_to_max(row(logits, last), goldens_.floats("logits_last" + tag)), kTolerance)
        << tag;
    const auto values = goldens_.floats("top20_val" + tag);
    const auto tokens = goldens_.ints("top20_idx" + tag);
    std::vector<float> ours;
    for (size_t i = 0; i < tokens.size(); ++i)
      ours.push_back(row(logits, i / 20)[static_cast<size_t>(tokens[i])]);
    EXPECT_LE(relative_to_max(ours, values), kTolerance) << tag;
    // The largest logit is the golden one unless the two best are closer than the tolerance.
    for (size_t t = 0; t <= last; ++t) {
      if (values[t * 20] - values[t * 20 + 1] > 2 * kTolerance * values[t * 20]) {
        EXPECT_EQ(argmax(row(logits, t)), tokens[t * 20]) << tag << " position " << t;
      }
    }
    if (length == 7) {
      EXPECT_LE(relative_to_max(logits, goldens_.floats("logits.T7")), kTolerance);
    }
  }
}

// The same checkpoints run in BF16 by transformers: its rounding is 1 to 3 % of the prompt's
// largest logit, on prompts whose router margins are clear.
TEST_P(NemotronGolden, LooselyAgreesWithBf16Arithmetic) {
  for (const int length : {1, 7}) {
    const std::string tag = ".T" + std::to_string(length);
    const std::vector<float> logits = m_.run(ids(length));
    const auto last = row(logits, static_cast<size_t>(length) - 1);
    const auto golden = goldens_.floats("bf16_logits_last" + tag);
    float largest = 0, difference = 0;
    for (const float v : logits) largest = std::max(largest, std::abs(v));
    ASSERT_EQ(last.size(), golden.size());
    for (size_t i = 0; i < last.size(); ++i)
      difference = std::max(difference, std::abs(last[i] - golden[i]));
    EXPECT_LE(difference / largest, 0.03) << tag;
    EXPECT_EQ(argmax(last), argmax(golden)) << tag;
  }
}

TEST_P(NemotronGolden, HiddenStatesRoutingAndCaches) {
  constexpr int64_t kLength = 130;
  std::vector<std::vector<float>> hidden;
  struct Routed {
    std::vector<int32_t> ids;
    std::vector<float> weights;
    int64_t used = 0;
  };
  std::map<int64_t, Routed> routed;
  StepObserver observer;
  observer.hidden = [&](int64_t index, F32View x) {
    EXPECT_EQ(index, static_cast<int64_t>(hidden.size()));
    EXPECT_EQ(x.rows, kLength);
    std::vector<float>& rows = hidden.emplace_back();
    for (int64_t t = 0; t < x.rows; ++t) rows.insert(rows.end(), x.row(t), x.row(t) + x.cols);
  };
  observer.routed = [&](int64_t layer, const int32_t* chosen, const float* weights, int64_t tokens,
                        int64_t used) {
    EXPECT_EQ(tokens, kLength);
    routed[layer] = {{chosen, chosen + tokens * used}, {weights, weights + tokens * used}, used};
  };
  (void)m_.run(ids(kLength), 0, 0, &observer);

  const auto& layers = m_.model->config().layers;
  ASSERT_EQ(hidden.size(), layers.size() + 2);
  for (size_t i = 0; i <= layers.size(); ++i)
    EXPECT_LE(relative_to_max(hidden[i], goldens_.floats("hidden.T130." + std::to_string(i))),
              kTolerance)
        << "hidden state " << i;
  EXPECT_LE(relative_to_max(hidden.back(), goldens_.floats("final_norm.T130")), kTolerance);

  size_t mamba_layer = 0, attention_layer = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    const std::string state = "state.T130." + std::to_string(l) + ".";
    if (layers[l].kind == LayerKind::kMamba) {
      EXPECT_LE(
          relative_to_max(m_.sequences->ssm(mamba_layer, 0), goldens_.floats(state + "ssm_state")),
          kTolerance)
          << "layer " << l;
      // The golden window has kernel columns; the oldest is never needed again.
      const auto window = goldens_.floats(state + "conv_state");
      const auto kernel = static_cast<size_t>(m_.model->config().mamba.kernel);
      std::vector<float> kept;
      for (size_t i = 0; i < window.size(); ++i)
        if (i % kernel != 0) kept.push_back(window[i]);
      EXPECT_LE(relative_to_max(m_.sequences->conv(mamba_layer, 0), kept), kTolerance)
          << "layer " << l;
      ++mamba_layer;
    } else if (layers[l].kind == LayerKind::kAttention) {
      for (const int which : {0, 1})
        EXPECT_LE(relative_to_max(m_.sequences->cached(attention_layer, 0, which, kLength),
                                  goldens_.floats(state + (which == 0 ? "k_cache" : "v_cache"))),
                  kTolerance)
            << "layer " << l;
      ++attention_layer;
    } else if (layers[l].kind == LayerKind::kMoe) {
      const std::string router = "router.T130." + std::to_string(l) + ".";
      const auto golden_ids = goldens_.ints(router + "ids");
      const auto golden_weights = goldens_.floats(router + "weights");
      const auto margins = goldens_.floats(router + "margin");
      const Routed& ours = routed[static_cast<int64_t>(l)];
      ASSERT_EQ(ours.ids.size(), golden_ids.size());
      const auto used = static_cast<size_t>(ours.used);
      for (size_t t = 0; t < margins.size(); ++t) {
        if (margins[t] < 1e-5f) continue;  // two candidates closer than FP32 rounding
        std::map<int32_t, float> golden;   // goldens go by falling weight, ours by id
        for (size_t i = t * used; i < (t + 1) * used; ++i)
          golden[golden_ids[i]] = golden_weights[i];
        size_t i = t * used;
        for (const auto& [id, weight] : golden) {
          EXPECT_EQ(ours.ids[i], id) << "layer " << l << " token " << t;
          EXPECT_NEAR(ours.weights[i], weight, kTolerance * 2.5) << "layer " << l << " token " << t;
          ++i;
        }
      }
    }
  }
}

// After the short prompt the first Mamba layer's state is that of the float64 recurrence.
TEST_P(NemotronGolden, StateOfShortPrompt) {
  (void)m_.run(ids(7));
  const auto& layers = m_.model->config().layers;
  for (size_t l = 0; l < layers.size(); ++l) {
    const std::string name = "mamba.T7." + std::to_string(l) + ".ssm_state";
    if (layers[l].kind != LayerKind::kMamba) continue;
    ASSERT_TRUE(goldens_.has(name));
    EXPECT_LE(relative_to_max(m_.sequences->ssm(0, 0), goldens_.floats(name)), kTolerance);
    break;
  }
}

TEST_P(NemotronGolden, GreedyTokens) {
  for (const int length : {1, 7, 130, 300}) {
    const auto golden = goldens_.ints("greedy.T" + std::to_string(length));
    EXPECT_EQ(m_.greedy(ids(length), 16), golden) << length;
    if (length <= 7) {
      EXPECT_EQ(m_.greedy_uncached(ids(length), 16), golden) << length;
    }
  }
}

TEST_P(NemotronGolden, DecodeOneByOneIsPrefill) {
  const std::vector<int32_t> prompt = ids(130);
  const std::vector<float> whole = m_.run(prompt);
  std::vector<float> single;
  for (size_t t = 0; t < prompt.size(); ++t) {
    const auto logits = m_.run(std::span(prompt).subspan(t, 1), static_cast<int64_t>(t), 1);
    single.insert(single.end(), logits.begin(), logits.end());
  }
  EXPECT_LE(relative_to_max(single, whole), kCutTolerance);
}

TEST_P(NemotronGolden, PrefillCutAtOddPlaces) {
  const std::vector<int32_t> prompt = ids(300);
  const std::vector<float> whole = m_.run(prompt);
  for (const auto& cuts : {std::vector<size_t>{1, 2, 127, 64, 106},
                           std::vector<size_t>{63, 1, 65, 128, 43}, std::vector<size_t>{299, 1}}) {
    std::vector<float> pieces;
    size_t at = 0;
    for (const size_t tokens : cuts) {
      const auto logits =
          m_.run(std::span(prompt).subspan(at, tokens), static_cast<int64_t>(at), 2);
      pieces.insert(pieces.end(), logits.begin(), logits.end());
      at += tokens;
    }
    ASSERT_EQ(at, prompt.size());
    EXPECT_LE(relative_to_max(pieces, whole), kCutTolerance) << "first cut " << cuts.front();
  }
}

// Sequences that share steps, a prompt beside a decoding one, get the bits each has alone.
TEST_P(NemotronGolden, BatchGivesTheSameBits) {
  const std::vector<int32_t> a = ids(130), b = ids(300);
  const std::vector<float> alone_a = m_.run(std::span(a).first(20), 0, 0);
  const std::vector<float> alone_a_next = m_.run(std::span(a).subspan(20, 1), 20, 0);
  const std::vector<float> alone_b = m_.run(std::span(b).first(33), 0, 1);

  std::vector<int32_t> first(a.begin(), a.begin() + 20);
  const std::array<Segment, 1> first_segments = {
      {{.first_token = 0, .tokens = 20, .position = 0, .slot = 2}}};
  EXPECT_EQ(m_.run_step(first, first_segments), alone_a);
  std::vector<int32_t> both(b.begin(), b.begin() + 33);
  both.push_back(a[20]);
  const std::array<Segment, 2> segments = {
      {{.first_token = 0, .tokens = 33, .position = 0, .slot = 0},
       {.first_token = 33, .tokens = 1, .position = 20, .slot = 2}}};
  const std::vector<float> together = m_.run_step(both, segments);
  std::vector<float> separate = alone_b;
  separate.insert(separate.end(), alone_a_next.begin(), alone_a_next.end());
  EXPECT_EQ(together, separate);
}

std::string parameter_name(const testing::TestParamInfo<Parameters>& info) {
  std::string name =
      std::get<0>(info.param) + "_" + std::get<1>(info.param) + "_" + std::get<2>(info.param);
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Models, NemotronGolden,
                         testing::Combine(testing::Values("a", "b", "c"),
                                          testing::Values("bf16", "fp32"),
                                          testing::ValuesIn(backend_names("exact"))),
                         parameter_name);

}  // namespace
}  // namespace hlwq::test
