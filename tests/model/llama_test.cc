// Small Llama models against float64 results of scripts/llama_reference.py, whose arithmetic was
// held against a pretrained model.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "model/synthetic.h"
#include "tests/model/llama_checkpoint.h"
#include "tests/model/model_under_test.h"

namespace hlwq::test {
namespace {

// FP32 sums of up to 200 terms and a few layers leave 1e-6 of the largest value.
constexpr double kTolerance = 1e-5;

using Parameters = std::tuple<std::string, std::string>;  // model, backend

std::string parameter_name(const testing::TestParamInfo<Parameters>& info) {
  std::string name = std::get<0>(info.param) + "_" + std::get<1>(info.param);
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}

class LlamaTest : public testing::TestWithParam<Parameters> {
 protected:
  LlamaTest() : folder_(llama_folder(std::get<0>(GetParam()))) {}
  [[nodiscard]] ModelUnderTest load(const StoredTensors& tensors) const {
    const TemporaryCheckpoint checkpoint(tensors, folder_);
    return ModelUnderTest::load(checkpoint.folder(), std::get<1>(GetParam()));
  }
  [[nodiscard]] StoredTensors tensors() const { return llama_tensors(std::get<0>(GetParam())); }
  [[nodiscard]] std::vector<int32_t> ids() const {
    return Goldens(folder_ + "/goldens.safetensors").ints("ids");
  }

  std::string folder_;
};

using LlamaGolden = LlamaTest;
class LlamaBits : public LlamaTest {};

TEST_P(LlamaGolden, LogitsAndHiddenStates) {
  ModelUnderTest m = load(tensors());
  ASSERT_NE(m.model, nullptr);
  const Goldens goldens(folder_ + "/goldens.safetensors");
  const auto mixers = static_cast<int64_t>(m.model->config().layers.size());
  const auto hidden = static_cast<size_t>(m.model->config().hidden);
  std::vector<float> last;  // after the embeddings and each pair of mixers
  int64_t seen = 0;
  StepObserver observer;
  observer.hidden = [&](int64_t index, F32View x) {
    EXPECT_EQ(index, seen++);
    if (index % 2 != 0 || index > mixers) return;
    const float* const row = x.row(x.rows - 1);
    last.insert(last.end(), row, row + x.cols);
  };
  const std::vector<float> logits = m.run(ids(), 0, 0, &observer);
  EXPECT_EQ(seen, mixers + 2);
  const std::vector<float> golden = goldens.floats("hidden_last");
  ASSERT_EQ(last.size(), golden.size());
  for (size_t at = 0; at < golden.size(); at += hidden)
    EXPECT_LE(
        relative_to_max(std::span(last).subspan(at, hidden), std::span(golden).subspan(at, hidden)),
        kTolerance)
        << "after layer " << at / hidden;
  std::vector<float> rows;
  const auto vocabulary = static_cast<size_t>(m.vocabulary());
  for (const int32_t row : goldens.ints("rows")) {
    const auto begin = logits.begin() + static_cast<ptrdiff_t>(row * m.vocabulary());
    rows.insert(rows.end(), begin, begin + static_cast<ptrdiff_t>(vocabulary));
  }
  EXPECT_LE(relative_to_max(rows, goldens.floats("logits")), kTolerance);
}

// The bits of a token depend neither on where its prompt is cut nor on what shares its step, with
// plain weights and with codes.
TEST_P(LlamaBits, CutsAndBatchesDoNotShow) {
  for (const bool coded : {false, true}) {
    SCOPED_TRACE(coded ? "coded" : "plain");
    ModelUnderTest m = load(
        coded ? code_matrices(tensors(), {.kind = CodebookKind::kGrid, .bits = 5}) : tensors());
    ASSERT_NE(m.model, nullptr);
    EXPECT_EQ(m.model->coded(), coded);
    const std::vector<int32_t> prompt = ids();
    const std::vector<float> whole = m.run(prompt, 0, 0);
    std::vector<float> pieces;
    size_t at = 0;
    for (const size_t tokens : {1, 1, 63, 1, 64}) {
      const std::vector<float> piece =
          m.run(std::span(prompt).subspan(at, tokens), static_cast<int64_t>(at), 1);
      pieces.insert(pieces.end(), piece.begin(), piece.end());
      at += tokens;
    }
    ASSERT_EQ(at, prompt.size());
    EXPECT_EQ(pieces, whole);

    // A prompt's second half beside a single token of another sequence.
    (void)m.run(std::span(prompt).first(20), 0, 2);
    (void)m.run(std::span(prompt).first(70), 0, 1);
    std::vector<int32_t> both(prompt.begin() + 70, prompt.end());
    both.push_back(prompt[20]);
    const auto rest = static_cast<int64_t>(both.size()) - 1;
    const std::array<Segment, 2> segments = {
        {{.first_token = 0, .tokens = rest, .position = 70, .slot = 1},
         {.first_token = rest, .tokens = 1, .position = 20, .slot = 2}}};
    const std::vector<float> together = m.run_step(both, segments);
    const auto row = [&](const std::vector<float>& logits, int64_t t) {
      const auto begin = logits.begin() + static_cast<ptrdiff_t>(t * m.vocabulary());
      return std::vector<float>(begin, begin + static_cast<ptrdiff_t>(m.vocabulary()));
    };
    EXPECT_EQ(row(together, rest), row(whole, 20));
    EXPECT_EQ(row(together, rest - 1), row(whole, 129));
    EXPECT_EQ(row(together, 0), row(whole, 70));
  }
}

// Exact arithmetic on codes is the model with the decoded weights, up to FP32 rounding; int8
// activations stay near it.
TEST_P(LlamaBits, CodesGiveTheDecodedModel) {
  const Coding coding{.kind = CodebookKind::kGrid, .bits = 5};
  Coding decoded = coding;
  decoded.decoded = true;
  ModelUnderTest have = load(code_matrices(tensors(), coding));
  ModelUnderTest want = load(code_matrices(tensors(), decoded));
  ASSERT_TRUE(have.model != nullptr && want.model != nullptr);
  const std::vector<int32_t> prompt = ids();
  const std::vector<float> logits = want.run(prompt);
  const bool exact = std::get<1>(GetParam()).ends_with("-exact");
  const double difference = relative_to_max(have.run(prompt), logits);
  EXPECT_LE(difference, exact ? 1e-5 : 0.03);
  if (!exact) {
    EXPECT_GT(difference, 0.0);  // it did round activations
  }
}

std::vector<std::string> all_backends() {
  std::vector<std::string> names = backend_names("exact");
  for (std::string& name : backend_names("int8")) names.push_back(std::move(name));
  return names;
}

const auto kModels = testing::Values("default", "llama3", "linear");
INSTANTIATE_TEST_SUITE_P(Models, LlamaGolden,
                         testing::Combine(kModels, testing::ValuesIn(backend_names("exact"))),
                         parameter_name);
INSTANTIATE_TEST_SUITE_P(Models, LlamaBits,
                         testing::Combine(kModels, testing::ValuesIn(all_backends())),
                         parameter_name);

TEST(Llama, CountsItsMemoryAndLayers) {
  const TemporaryCheckpoint checkpoint(llama_tensors("default"), llama_folder("default"));
  ModelUnderTest m = ModelUnderTest::load(checkpoint.folder(), "cpu-exact");
  ASSERT_NE(m.model, nullptr);
  const ModelConfig& config = m.model->config();
  EXPECT_EQ(config.layers.size(), 4u);
  EXPECT_EQ(config.published_layers(), 2);
  const StateShape state = m.model->state_shape();
  EXPECT_EQ(state.mamba_layers, 0);
  EXPECT_EQ(state.attention_layers, 2);
  // Residual, normed, gate beside up, hidden: a row each; and the angles of every position.
  const size_t row = 96 + 96 + 2 * 160 + 160;
  EXPECT_EQ(m.model->activation_bytes(),
            (ModelUnderTest::kTokens * row + ModelUnderTest::kContext * 16) * sizeof(float));
}

// What `plan` times: the beginning of a model, cut between attention and MLP, with random weights.
TEST(Llama, RandomWeightsOfItsShape) {
  const auto config = read_model_config(llama_folder("default"));
  ASSERT_TRUE(config) << config.error().message;
  SyntheticSpec spec{.config = *config, .seed = 0, .skew = 0, .all_layers = 4};
  spec.config.attention_bias = spec.config.mlp_bias = true;
  spec.config.layers.resize(3, LayerConfig{});
  ModelUnderTest m;
  m.backend = make_backend("cpu-int8");
  auto model = make_synthetic_model(
      spec, *m.backend,
      {.tokens = m.kTokens, .logit_rows = m.kTokens, .context = ModelUnderTest::kContext});
  ASSERT_TRUE(model) << model.error().message;
  m.model = *std::move(model);
  m.make_room();
  const std::vector<float> logits = m.run(std::vector<int32_t>{1, 319, 7});
  for (const float logit : logits) ASSERT_TRUE(std::isfinite(logit));
  EXPECT_NE(logits[0], logits[static_cast<size_t>(m.vocabulary())]);
}

TEST(Llama, TensorsOfTheConfigurationAndNoOthers) {
  StoredTensors tensors = llama_tensors("llama3");
  StoredTensors without_bias = tensors;
  std::erase_if(without_bias,
                [](const StoredTensor& t) { return t.name.ends_with("k_proj.bias"); });
  const auto backend = make_backend("reference-exact");
  const TemporaryCheckpoint incomplete(without_bias, llama_folder("llama3"));
  auto model = load_model(incomplete.folder(), *backend, {});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kMissing);
  EXPECT_NE(model.error().message.find("model.layers.2.self_attn.k_proj.bias"), std::string::npos)
      << model.error().message;

  tensors.push_back({"model.layers.0.mixer.norm.weight", DType::kF32, {1}, {4, std::byte{}}});
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq",
                     DType::kF32,
                     {1},
                     {4, std::byte{}}});  // of old files; angles come from the configuration
  const TemporaryCheckpoint surplus(tensors, llama_folder("llama3"));
  model = load_model(surplus.folder(), *backend, {});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(model.error().message.find("1 tensors do not belong"), std::string::npos)
      << model.error().message;
}

}  // namespace
}  // namespace hlwq::test
