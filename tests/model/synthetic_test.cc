// Models made of random weights: what their names mean, that they are the same everywhere, and that
// their activations behave.

#include "model/synthetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "model/tensor_names.h"
#include "tests/model/model_under_test.h"

namespace hlwq::test {
namespace {

ModelUnderTest make(const std::string& spec, const std::string& backend) {
  ModelUnderTest m;
  m.backend = make_backend(backend);
  auto model = make_synthetic_model(
      spec, *m.backend, {.tokens = 512, .logit_rows = 512, .context = ModelUnderTest::kContext});
  EXPECT_TRUE(model) << model.error().message;
  if (!model) return m;
  m.model = *std::move(model);
  m.make_room();
  return m;
}

std::vector<int32_t> prompt(size_t length) {
  std::vector<int32_t> ids(length);
  for (size_t i = 0; i < length; ++i) ids[i] = static_cast<int32_t>((i * 131 + 7) % 512);
  return ids;
}

TEST(Synthetic, SpecsAreParsedOrRefused) {
  const auto big = parse_synthetic_spec("nemotron-30b-a3b:seed=7:skew=0.5");
  ASSERT_TRUE(big) << big.error().message;
  EXPECT_EQ(big->seed, 7u);
  EXPECT_EQ(big->skew, 0.5);
  EXPECT_EQ(big->config.layers.size(), 52u);
  EXPECT_EQ(big->config.count(LayerKind::kMamba), 23);
  EXPECT_EQ(big->config.count(LayerKind::kMoe), 23);
  EXPECT_EQ(big->config.count(LayerKind::kAttention), 6);
  EXPECT_EQ(big->config.mamba.projected(), 10304);
  const auto cut = parse_synthetic_spec("nemotron-30b-a3b:layers=6");
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->config.layers.size(), 6u);
  EXPECT_EQ(cut->config.layers[5].kind, LayerKind::kAttention);
  for (const char* wrong :
       {"", "gpt", "tiny:", "tiny:seed=", "tiny:seed=-1", "tiny:seed=1x", "tiny:skew=nan",
        "tiny:skew=-1", "tiny:layers=0", "tiny:layers=9", "tiny:size=3", "tiny::seed=1"}) {
    const auto spec = parse_synthetic_spec(wrong);
    if (std::string(wrong) == "tiny:") continue;  // an empty rest is no part
    ASSERT_FALSE(spec) << wrong;
    EXPECT_EQ(spec.error().code, ErrorCode::kInvalidArgument);
  }
}

// The figures of the real one: 31.6 billion parameters, 3.2 of them read for a token.
TEST(Synthetic, The30bHasItsSize) {
  const auto spec = parse_synthetic_spec("nemotron-30b-a3b");
  ASSERT_TRUE(spec);
  double all = 0, read = 0;
  for (const ExpectedTensor& tensor : expected_tensors(spec->config)) {
    double count = 1;
    for (const int64_t n : tensor.shape) count *= static_cast<double>(n);
    all += count;
    if (tensor.name.find(".experts.") == std::string::npos) read += count;
    if (tensor.name.find(".experts.0.") != std::string::npos) read += 6 * count;
  }
  EXPECT_NEAR(all, 31.6e9, 0.1e9);
  EXPECT_NEAR(read, 3.6e9, 0.1e9);
}

// Weights are the same on every back end, so exact arithmetic gives the same logits but for the
// order of sums.
TEST(Synthetic, TheSameModelEverywhere) {
  ModelUnderTest reference = make("tiny", "reference-exact");
  ASSERT_NE(reference.model, nullptr);
  const std::vector<float> want = reference.run(prompt(40));
  for (const std::string& name : backend_names("exact")) {
    ModelUnderTest m = make("tiny", name);
    ASSERT_NE(m.model, nullptr);
    EXPECT_LE(relative_to_max(m.run(prompt(40)), want), 1e-4) << name;
    EXPECT_EQ(m.model->decode_bytes(1), reference.model->decode_bytes(1));
  }
  ModelUnderTest again = make("tiny:seed=0", "reference-exact");
  EXPECT_TRUE(again.run(prompt(40)) == want);
  ModelUnderTest other = make("tiny:seed=1", "reference-exact");
  EXPECT_GT(relative_to_max(other.run(prompt(40)), want), 0.1);
}

class SyntheticTiny : public testing::TestWithParam<std::string> {};

// The residual stream grows, but slowly; logits are of order one.
TEST_P(SyntheticTiny, ActivationsBehave) {
  ModelUnderTest m = make("tiny", GetParam());
  ASSERT_NE(m.model, nullptr);
  EXPECT_TRUE(m.model->coded());
  std::vector<double> powers;
  StepObserver observer;
  observer.hidden = [&](int64_t, F32View x) {
    double sum = 0;
    for (int64_t t = 0; t < x.rows; ++t)
      for (int64_t i = 0; i < x.cols; ++i) sum += double{x.row(t)[i]} * x.row(t)[i];
    powers.push_back(sum / static_cast<double>(x.rows * x.cols));
  };
  const std::vector<float> logits = m.run(prompt(200), 0, 0, &observer);
  ASSERT_EQ(powers.size(), 8u + 2u);
  EXPECT_NEAR(powers.front(), 1.0, 0.2);
  for (const double power : powers) EXPECT_TRUE(power > 0.5 && power < 5.0) << power;
  double squares = 0;
  for (const float v : logits) {
    ASSERT_TRUE(std::isfinite(v));
    squares += double{v} * v;
  }
  EXPECT_NEAR(squares / static_cast<double>(logits.size()), 1.0, 0.5);
}

// Shares of the choices that go to each expert of the first MoE layer, the largest first.
std::vector<double> expert_shares(const std::string& spec, const std::string& backend) {
  ModelUnderTest m = make(spec, backend);
  std::map<int32_t, double> counts;
  double total = 0;
  StepObserver observer;
  observer.routed = [&](int64_t layer, const int32_t* ids, const float* weights, int64_t tokens,
                        int64_t used) {
    if (layer != 1) return;
    for (int64_t i = 0; i < tokens * used; ++i) {
      EXPECT_TRUE(weights[i] > 0 && weights[i] < 2.5f);
      counts[ids[i]] += 1;
      total += 1;
    }
  };
  (void)m.run(prompt(300), 0, 0, &observer);
  std::vector<double> shares(16);
  for (const auto& [expert, count] : counts) shares[static_cast<size_t>(expert)] = count / total;
  std::sort(shares.rbegin(), shares.rend());
  return shares;
}

TEST_P(SyntheticTiny, ExpertsSpreadOrSkew) {
  const std::vector<double> even = expert_shares("tiny", GetParam());
  EXPECT_LT(even.front(), 3.0 / 16);
  EXPECT_GT(even.back(), 0.0) << "an expert nobody chooses";
  const std::vector<double> skewed = expert_shares("tiny:skew=1", GetParam());
  EXPECT_GT(skewed[0] + skewed[1] + skewed[2], 1.5 * (even[0] + even[1] + even[2]));
}

// One sequence and many give the same bits.
TEST_P(SyntheticTiny, BatchOfOneEqualsBatchOfMany) {
  ModelUnderTest m = make("tiny", GetParam());
  ASSERT_NE(m.model, nullptr);
  const std::vector<int32_t> ids = prompt(31);
  const std::vector<float> one = m.run(ids, 0, 0);
  std::vector<int32_t> all;
  std::vector<Segment> segments;
  for (int64_t slot = 0; slot < ModelUnderTest::kSlots; ++slot) {
    segments.push_back({.first_token = slot * 31, .tokens = 31, .position = 0, .slot = slot});
    all.insert(all.end(), ids.begin(), ids.end());
  }
  const std::vector<float> many = m.run_step(all, segments);
  for (size_t slot = 0; slot < 3; ++slot)
    EXPECT_TRUE(std::equal(one.begin(), one.end(),
                           many.begin() + static_cast<ptrdiff_t>(slot * one.size())))
        << "copy " << slot;
}

INSTANTIATE_TEST_SUITE_P(Backends, SyntheticTiny, testing::ValuesIn(backend_names("int8")),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Weights of a decode step: the head and everything else, a row of the embeddings, the chosen
// experts; and the states twice.
TEST(Synthetic, DecodeBytes) {
  ModelUnderTest m = make("tiny", "reference-int8");
  ASSERT_NE(m.model, nullptr);
  const auto& model = *m.model;
  const StateShape state = model.state_shape();
  const auto states =
      static_cast<double>(8 * state.mamba_layers * (state.conv_floats() + state.ssm_floats()));
  // 96 x 192 and 192 x 96: tiles of 8 rows, blocks of 128 columns, 82 bytes a row and block.
  const double expert = 12 * 2 * 8 * 82 + 24 * 1 * 8 * 82;
  const double record = 2 * 15872;  // both at multiples of 256 bytes
  const double embeddings = 64 * 2 * 8 * 82;
  const double dense = static_cast<double>(model.weight_bytes()) - 3 * 16 * record;
  const double want = dense - embeddings + embeddings / 512 + 3 * 3 * expert + states;
  EXPECT_NEAR(static_cast<double>(model.decode_bytes(1)), want, 1.0);
  EXPECT_GT(model.decode_bytes(4), model.decode_bytes(1));
  EXPECT_LT(model.decode_bytes(4), 4 * model.decode_bytes(1));
}

}  // namespace
}  // namespace hlwq::test
