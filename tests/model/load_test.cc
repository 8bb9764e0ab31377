// What a checkpoint may look like and what is refused: missing and surplus tensors, --base, shapes
// that contradict config.json, damaged values, coded matrices of several widths.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "model/tensor_names.h"
#include "tests/model/model_under_test.h"
#include "tests/model/quantized_checkpoint.h"

namespace hlwq::test {
namespace {

std::string golden_folder(const std::string& model) {
  return std::string(HLWQ_TEST_DATA) + "/nemotron_h_goldens/" + model;
}
std::string bf16_folder(const std::string& model) { return golden_folder(model) + "/bf16"; }

Result<std::unique_ptr<Model>> load(const std::string& folder, Backend& backend,
                                    const std::string& base = "") {
  LoadOptions options;
  options.base = base;
  options.limits = {.tokens = 8, .logit_rows = 8, .context = 64};
  return load_model(folder, backend, options);
}

// Loads and returns the error; the test fails when there is none.
Error error_of(const std::string& folder, const std::string& base = "") {
  const auto backend = make_reference_backend(Compute::kExact);
  const auto model = load(folder, *backend, base);
  EXPECT_FALSE(model) << folder;
  return model ? Error{} : model.error();
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

void drop(StoredTensors& tensors, std::string_view ending) {
  std::erase_if(tensors, [&](const StoredTensor& t) { return t.name.ends_with(ending); });
}

const std::vector<int32_t> kPrompt = {1, 17, 200, 31, 5, 99, 300};

// ---- missing tensors and the base ------------------------------------------------------------

TEST(LoadModel, MissingCorrectionBiasesAreNamed) {
  StoredTensors tensors = code_matrices(read_tensors(bf16_folder("b")), {});
  drop(tensors, "e_score_correction_bias");
  const TemporaryCheckpoint incomplete(tensors, bf16_folder("b"));
  const Error error = error_of(incomplete.folder());
  EXPECT_EQ(error.code, ErrorCode::kMissing);
  EXPECT_TRUE(contains(error.message, "backbone.layers.1.mixer.gate.e_score_correction_bias"))
      << error.message;
  EXPECT_TRUE(contains(error.message, "backbone.layers.4.mixer.gate.e_score_correction_bias"));
  EXPECT_TRUE(contains(error.message, "--base"));
  EXPECT_TRUE(contains(error.message, incomplete.folder()));
}

TEST(LoadModel, BaseSuppliesOnlyWhatIsMissing) {
  const StoredTensors complete = code_matrices(read_tensors(bf16_folder("b")), {});
  StoredTensors tensors = complete;
  drop(tensors, "e_score_correction_bias");
  const TemporaryCheckpoint whole(complete, bf16_folder("b"));
  const TemporaryCheckpoint incomplete(tensors, bf16_folder("b"));
  ModelUnderTest wanted = ModelUnderTest::load(whole.folder(), "reference-exact");
  ASSERT_NE(wanted.model, nullptr);
  const auto logits = wanted.run(kPrompt);
  // The base in NVIDIA's names and in transformers' own.
  for (const char* base : {"/bf16", "/fp32"}) {
    ModelUnderTest model =
        ModelUnderTest::load(incomplete.folder(), "reference-exact", golden_folder("b") + base);
    ASSERT_NE(model.model, nullptr);
    EXPECT_EQ(model.run(kPrompt), logits) << base;
  }
}

TEST(LoadModel, BaseSuppliesFusedExperts) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  drop(tensors, "experts.3.up_proj.weight");
  drop(tensors, "experts.15.down_proj.weight");
  const TemporaryCheckpoint incomplete(tensors, bf16_folder("b"));
  ModelUnderTest model =
      ModelUnderTest::load(incomplete.folder(), "reference-exact", golden_folder("b") + "/fp32");
  ASSERT_NE(model.model, nullptr);
  ModelUnderTest wanted = ModelUnderTest::load(bf16_folder("b"), "reference-exact");
  EXPECT_EQ(model.run(kPrompt), wanted.run(kPrompt));
}

TEST(LoadModel, BaseThatLacksThemToo) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  drop(tensors, "e_score_correction_bias");
  const TemporaryCheckpoint incomplete(tensors, bf16_folder("b"));
  const Error error = error_of(incomplete.folder(), incomplete.folder());
  EXPECT_EQ(error.code, ErrorCode::kMissing);
  EXPECT_TRUE(contains(error.message, "lacks them too")) << error.message;
}

TEST(LoadModel, ManyMissingTensorsAreCounted) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  drop(tensors, "up_proj.weight");  // 2 layers of 16 experts, 2 shared ones, 1 MLP
  const TemporaryCheckpoint incomplete(tensors, bf16_folder("b"));
  const Error error = error_of(incomplete.folder());
  EXPECT_EQ(error.code, ErrorCode::kMissing);
  EXPECT_TRUE(contains(error.message, "35 tensors are missing")) << error.message;
  EXPECT_TRUE(contains(error.message, "and 27 more")) << error.message;
}

// ---- tensors that contradict the configuration -------------------------------------------------

TEST(LoadModel, SurplusTensorsAreRefused) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  tensors.push_back(
      {"backbone.layers.0.mixer.gate_proj.weight", DType::kF32, {1}, {4, std::byte{}}});
  const TemporaryCheckpoint surplus(tensors, bf16_folder("b"));
  const Error error = error_of(surplus.folder());
  EXPECT_EQ(error.code, ErrorCode::kUnsupported);
  EXPECT_TRUE(contains(error.message, "backbone.layers.0.mixer.gate_proj.weight")) << error.message;
}

TEST(LoadModel, ServingExtrasAreIgnored) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  for (const char* name : {"mtp.layers.0.enorm.weight", "backbone.layers.3.mixer.k_proj.k_scale",
                           "backbone.rotary_emb.inv_freq"})
    tensors.push_back({name, DType::kF32, {1}, {4, std::byte{}}});
  const TemporaryCheckpoint extras(tensors, bf16_folder("b"));
  const auto backend = make_reference_backend(Compute::kExact);
  const auto model = load(extras.folder(), *backend);
  EXPECT_TRUE(model) << model.error().message;
}

TEST(LoadModel, OneParameterInTwoSpellings) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  StoredTensor again = tensor_named(tensors, "backbone.norm_f.weight");
  again.name = "model.norm_f.weight";
  tensors.push_back(again);
  const TemporaryCheckpoint twice(tensors, bf16_folder("b"));
  const Error error = error_of(twice.folder());
  EXPECT_EQ(error.code, ErrorCode::kBadLayout);
  EXPECT_TRUE(contains(error.message, "model.norm_f.weight")) << error.message;
}

TEST(LoadModel, WrapperSpellings) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  for (StoredTensor& t : tensors) t.name = "language_model." + t.name;
  tensor_named(tensors, "language_model.backbone.embeddings.weight").name =
      "language_model.backbone.embedding.weight";
  // A tensor of the package's vision tower.
  tensors.push_back({"vision_model.patch.weight", DType::kF32, {1}, {4, std::byte{}}});
  const TemporaryCheckpoint wrapped(tensors, bf16_folder("b"));
  ModelUnderTest model = ModelUnderTest::load(wrapped.folder(), "reference-exact");
  ASSERT_NE(model.model, nullptr);
  ModelUnderTest wanted = ModelUnderTest::load(bf16_folder("b"), "reference-exact");
  EXPECT_EQ(model.run(kPrompt), wanted.run(kPrompt));
}

TEST(LoadModel, ConfigurationThatContradictsTheTensors) {
  const StoredTensors tensors = read_tensors(bf16_folder("b"));
  struct Edit {
    const char *from, *to, *named;
  };
  for (const Edit& edit :
       {Edit{"\"vocab_size\": 384", "\"vocab_size\": 385", "backbone.embeddings.weight"},
        Edit{"\"hidden_size\": 104", "\"hidden_size\": 96", "backbone.embeddings.weight"},
        Edit{"\"ssm_state_size\": 16", "\"ssm_state_size\": 32", "mixer.in_proj.weight"},
        Edit{"\"moe_intermediate_size\": 29", "\"moe_intermediate_size\": 30",
             "experts.0.up_proj.weight"}}) {
    const TemporaryCheckpoint bad(tensors, bf16_folder("b"), [&](std::string text) {
      const size_t at = text.find(edit.from);
      EXPECT_NE(at, std::string::npos) << edit.from;
      return text.replace(at, std::strlen(edit.from), edit.to);
    });
    const Error error = error_of(bad.folder());
    EXPECT_EQ(error.code, ErrorCode::kBadLayout) << edit.to << ": " << error.message;
    EXPECT_TRUE(contains(error.message, edit.named)) << error.message;
  }
}

TEST(LoadModel, FusedTensorWithAnotherNumberOfExperts) {
  StoredTensors tensors = read_tensors(golden_folder("b") + "/fp32");
  StoredTensor& fused = tensor_named(tensors, "model.layers.1.mixer.experts.up_proj");
  fused.shape[0] -= 1;
  fused.bytes.resize(fused.bytes.size() / 16 * 15);
  const TemporaryCheckpoint bad(tensors, golden_folder("b") + "/fp32");
  const Error error = error_of(bad.folder());
  EXPECT_EQ(error.code, ErrorCode::kBadLayout);
  EXPECT_TRUE(contains(error.message, "model.layers.1.mixer.experts.up_proj")) << error.message;
}

TEST(LoadModel, NoConfiguration) {
  EXPECT_EQ(error_of(golden_folder("b")).code, ErrorCode::kMissing);
  EXPECT_EQ(error_of(golden_folder("none")).code, ErrorCode::kMissing);
}

TEST(LoadModel, StepLimits) {
  const auto backend = make_reference_backend(Compute::kExact);
  for (const StepLimits limits : {StepLimits{.tokens = 0, .logit_rows = 1, .context = 64},
                                  StepLimits{.tokens = 4, .logit_rows = 5, .context = 64},
                                  StepLimits{.tokens = 4, .logit_rows = 1, .context = 0}}) {
    LoadOptions options;
    options.limits = limits;
    const auto model = load_model(bf16_folder("b"), *backend, options);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
  }
}

// ---- damaged values -----------------------------------------------------------------------------

TEST(LoadModel, ValuesThatAreNotFinite) {
  struct Damage {
    const char* folder;
    const char* name;
  };
  for (const Damage& damage :
       {Damage{"/bf16", "backbone.layers.0.mixer.in_proj.weight"},
        Damage{"/bf16", "backbone.layers.1.norm.weight"},
        Damage{"/bf16", "backbone.layers.1.mixer.experts.7.down_proj.weight"},
        Damage{"/fp32", "model.layers.1.mixer.experts.up_proj"},
        Damage{"/bf16", "backbone.layers.0.mixer.A_log"}}) {
    StoredTensors tensors = read_tensors(golden_folder("b") + damage.folder);
    StoredTensor& t = tensor_named(tensors, damage.name);
    // The last value becomes infinite: exponent bits set, mantissa clear.
    const uint32_t infinity = 0x7f800000u;
    const auto bytes = static_cast<size_t>(bytes_of(t.dtype));
    std::memcpy(t.bytes.data() + t.bytes.size() - bytes,
                reinterpret_cast<const char*>(&infinity) + (4 - bytes), bytes);
    const TemporaryCheckpoint bad(tensors, golden_folder("b") + damage.folder);
    const Error error = error_of(bad.folder());
    EXPECT_EQ(error.code, ErrorCode::kBadValue) << damage.name;
    EXPECT_TRUE(contains(error.message, damage.name)) << error.message;
  }
}

TEST(LoadModel, TypesThatAreNotWeights) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  StoredTensor& t = tensor_named(tensors, "backbone.layers.0.mixer.out_proj.weight");
  t.dtype = DType::kI16;
  const TemporaryCheckpoint bad(tensors, bf16_folder("b"));
  const Error error = error_of(bad.folder());
  EXPECT_TRUE(contains(error.message, "backbone.layers.0.mixer.out_proj.weight")) << error.message;
}

// ---- coded checkpoints --------------------------------------------------------------------------

struct CodedCase {
  const char* model;
  CodebookKind kind;
  int bits;
};

class CodedModel : public testing::TestWithParam<CodedCase> {};

// Exact arithmetic on the codes is the plain model with the decoded weights, up to FP32 rounding.
TEST_P(CodedModel, ExactArithmeticIsThatOfTheDecodedWeights) {
  const auto [model, kind, bits] = GetParam();
  const StoredTensors plain = read_tensors(bf16_folder(model));
  const TemporaryCheckpoint coded(code_matrices(plain, {kind, bits, false}), bf16_folder(model));
  const TemporaryCheckpoint decoded(code_matrices(plain, {kind, bits, true}), bf16_folder(model));
  ModelUnderTest want = ModelUnderTest::load(decoded.folder(), "reference-exact");
  ASSERT_NE(want.model, nullptr);
  EXPECT_FALSE(want.model->coded());
  const auto logits = want.run(kPrompt);
  for (const std::string& backend : backend_names("exact")) {
    ModelUnderTest have = ModelUnderTest::load(coded.folder(), backend);
    ASSERT_NE(have.model, nullptr);
    EXPECT_TRUE(have.model->coded());
    EXPECT_LE(relative_to_max(have.run(kPrompt), logits), 1e-4) << backend;
  }
}

// int8 activations have an error of about 1 % of a block's largest value. Compared are the hidden
// states up to the first router: behind it, tokens of these random models, whose margins are thin,
// may go to other experts.
TEST_P(CodedModel, IntegerArithmeticIsClose) {
  const auto [model, kind, bits] = GetParam();
  const StoredTensors plain = read_tensors(bf16_folder(model));
  const TemporaryCheckpoint coded(code_matrices(plain, {kind, bits, false}), bf16_folder(model));
  const auto hidden_before_router = [&](const std::string& backend) {
    ModelUnderTest m = ModelUnderTest::load(coded.folder(), backend);
    std::vector<float> hidden;
    if (m.model == nullptr) return hidden;
    const auto& layers = m.model->config().layers;
    const auto router = std::find_if(layers.begin(), layers.end(), [](const LayerConfig& layer) {
      return layer.kind == LayerKind::kMoe;
    });
    StepObserver observer;
    observer.hidden = [&](int64_t index, F32View x) {
      if (index == router - layers.begin()) hidden.assign(x.data, x.data + x.rows * x.stride);
    };
    const auto logits = m.run(kPrompt, 0, 0, &observer);
    EXPECT_TRUE(std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); }))
        << backend;
    return hidden;
  };
  const auto exact = hidden_before_router("reference-exact");
  for (const std::string& backend : backend_names("int8")) {
    const auto rounded = hidden_before_router(backend);
    EXPECT_LE(relative_to_max(rounded, exact), 0.03) << backend;
    EXPECT_GT(relative_to_max(rounded, exact), 0.0) << backend;  // it did round activations
  }
}

// Under int8 too, a token's bits do not depend on what else is in its step.
TEST_P(CodedModel, BatchGivesTheSameBits) {
  const auto [model, kind, bits] = GetParam();
  const StoredTensors plain = read_tensors(bf16_folder(model));
  const TemporaryCheckpoint coded(code_matrices(plain, {kind, bits, false}), bf16_folder(model));
  for (const std::string& backend : backend_names("int8")) {
    ModelUnderTest m = ModelUnderTest::load(coded.folder(), backend);
    ASSERT_NE(m.model, nullptr);
    const auto prompt = std::span(kPrompt);
    std::vector<float> alone = m.run(prompt.first(6), 0, 0);
    const std::vector<float> next = m.run(prompt.subspan(6), 6, 0);
    alone.insert(alone.end(), next.begin(), next.end());
    // The other sequence is one step behind, so its prompt shares a step with this one's decoding.
    std::vector<float> shared = m.run(prompt.first(6), 0, 2);
    std::vector<int32_t> both = {kPrompt[6]};
    both.insert(both.end(), kPrompt.rbegin(), kPrompt.rend());
    const std::vector<Segment> segments = {
        {.first_token = 0, .tokens = 1, .position = 6, .slot = 2},
        {.first_token = 1, .tokens = 7, .position = 0, .slot = 1}};
    const std::vector<float> step = m.run_step(both, segments);
    shared.insert(shared.end(), step.begin(), step.begin() + m.vocabulary());
    EXPECT_EQ(shared, alone) << backend;
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, CodedModel,
                         testing::Values(CodedCase{"a", CodebookKind::kGrid, 5},
                                         CodedCase{"b", CodebookKind::kGrid, 5},
                                         CodedCase{"c", CodebookKind::kGrid, 5},
                                         CodedCase{"b", CodebookKind::kWire, 5},
                                         CodedCase{"b", CodebookKind::kGrid, 3},
                                         CodedCase{"c", CodebookKind::kOptimal, 8}),
                         [](const auto& test) {
                           return std::string(test.param.model) + "_table" +
                                  std::to_string(static_cast<int>(test.param.kind)) + "_" +
                                  std::to_string(test.param.bits) + "bits";
                         });

TEST(LoadModel, TiedHeadUsesTheEmbedding) {
  StoredTensors tensors = read_tensors(bf16_folder("b"));
  const StoredTensor embeddings = tensor_named(tensors, "backbone.embeddings.weight");
  tensor_named(tensors, "lm_head.weight").bytes = embeddings.bytes;
  const TemporaryCheckpoint separate(tensors, bf16_folder("b"));
  drop(tensors, "lm_head.weight");
  const auto tie = [](std::string text) {
    const std::string from = "\"tie_word_embeddings\": false";
    return text.replace(text.find(from), from.size(), "\"tie_word_embeddings\": true");
  };
  const TemporaryCheckpoint tied(tensors, bf16_folder("b"), tie);
  ModelUnderTest a = ModelUnderTest::load(tied.folder(), "reference-exact");
  ModelUnderTest b = ModelUnderTest::load(separate.folder(), "reference-exact");
  ASSERT_NE(a.model, nullptr);
  ASSERT_NE(b.model, nullptr);
  EXPECT_EQ(a.run(kPrompt), b.run(kPrompt));
  EXPECT_LT(a.model->weight_bytes(), b.model->weight_bytes());
}

TEST(LoadModel, ReportsProgressToTheEnd) {
  const auto backend = make_reference_backend(Compute::kExact);
  uint64_t last = 0, total = 0, calls = 0;
  LoadOptions options;
  options.limits = {.tokens = 1, .logit_rows = 1, .context = 8};
  options.load_threads = 3;
  options.progress = [&](uint64_t done, uint64_t of) {
    EXPECT_GT(done, last);
    last = done, total = of, ++calls;
  };
  ASSERT_TRUE(load_model(golden_folder("b") + "/fp32", *backend, options));
  EXPECT_EQ(last, total);
  EXPECT_GT(calls, 30u);
  // All tensors' bytes, up to the rounding of the experts' shares.
  uint64_t bytes = 0;
  for (const StoredTensor& t : read_tensors(golden_folder("b") + "/fp32")) bytes += t.bytes.size();
  EXPECT_NEAR(static_cast<double>(total), static_cast<double>(bytes), 100.0);
}

// ---- steps that ask for what cannot be
// ------------------------------------------------------------

TEST(Forward, RefusesBadSteps) {
  ModelUnderTest m = ModelUnderTest::load(bf16_folder("b"), "reference-exact");
  ASSERT_NE(m.model, nullptr);
  std::vector<float> memory(static_cast<size_t>(8 * m.vocabulary()));
  const MutF32View logits = dense(memory.data(), 8, m.vocabulary());
  const std::vector<int32_t> ids = {1, 2, 3};
  const auto refused = [&](std::span<const int32_t> step_ids, std::vector<Segment> segments,
                           std::vector<int64_t> rows) {
    const Status status = m.model->forward(
        {.ids = step_ids, .segments = segments, .logit_rows = rows}, m.sequences->memory(), logits);
    return !status && status.error().code == ErrorCode::kInvalidArgument;
  };
  const Segment all{.first_token = 0, .tokens = 3, .position = 0, .slot = 0};
  EXPECT_FALSE(refused(ids, {all}, {2}));
  EXPECT_FALSE(refused(ids, {all}, {}));
  EXPECT_TRUE(refused({}, {}, {}));
  EXPECT_TRUE(refused(std::vector<int32_t>{1, 2, 384}, {all}, {2}));
  EXPECT_TRUE(refused(std::vector<int32_t>{1, -1, 3}, {all}, {2}));
  EXPECT_TRUE(refused(std::vector<int32_t>(513, 1), {{0, 513, 0, 0}}, {}));
  EXPECT_TRUE(refused(ids, {{0, 2, 0, 0}}, {1}));                // a token without a segment
  EXPECT_TRUE(refused(ids, {{0, 2, 0, 0}, {1, 2, 0, 1}}, {1}));  // overlapping
  EXPECT_TRUE(refused(ids, {{0, 3, -1, 0}}, {1}));
  EXPECT_TRUE(refused(ids, {{0, 3, ModelUnderTest::kContext - 2, 0}}, {1}));
  EXPECT_TRUE(refused(ids, {all}, {3}));
  EXPECT_TRUE(refused(ids, {all}, {1, 1}));
  EXPECT_TRUE(refused(ids, {all}, {-1}));
}

// Any choice of rows gives the rows of the whole.
TEST(Forward, LogitRowsAreSelected) {
  for (const char* backend : {"reference-exact", "reference-int8"}) {
    const StoredTensors plain = read_tensors(bf16_folder("b"));
    const TemporaryCheckpoint coded(code_matrices(plain, {}), bf16_folder("b"));
    ModelUnderTest m = ModelUnderTest::load(coded.folder(), backend);
    ASSERT_NE(m.model, nullptr);
    const std::vector<float> all = m.run(kPrompt);
    const auto v = static_cast<size_t>(m.vocabulary());
    const std::vector<int64_t> rows = {0, 2, 3, 6};
    std::vector<float> some(rows.size() * v, std::numeric_limits<float>::quiet_NaN());
    const Segment segment{.first_token = 0, .tokens = 7, .position = 0, .slot = 1};
    ASSERT_TRUE(
        m.model->forward({.ids = kPrompt, .segments = std::span(&segment, 1), .logit_rows = rows},
                         m.sequences->memory(), dense(some.data(), 4, m.vocabulary())));
    for (size_t i = 0; i < rows.size(); ++i)
      EXPECT_TRUE(
          std::equal(some.begin() + static_cast<ptrdiff_t>(i * v),
                     some.begin() + static_cast<ptrdiff_t>((i + 1) * v),
                     all.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(rows[i]) * v)))
          << backend << " row " << rows[i];
  }
}

// An overflow inside a step is reported, not returned as logits.
TEST(Forward, NonFiniteActivationsFailTheStep) {
  StoredTensors tensors = code_matrices(read_tensors(bf16_folder("b")), {});
  StoredTensor& norm = tensor_named(tensors, "backbone.layers.0.norm.weight");
  for (size_t i = 0; i + 1 < norm.bytes.size(); i += 2) {
    const uint16_t huge = 0x7f7f;  // the largest BF16
    std::memcpy(norm.bytes.data() + i, &huge, 2);
  }
  const TemporaryCheckpoint bad(tensors, bf16_folder("b"));
  for (const std::string& backend : backend_names("int8")) {
    ModelUnderTest m = ModelUnderTest::load(bad.folder(), backend);
    ASSERT_NE(m.model, nullptr);
    const std::vector<int32_t> ids = {5};
    const std::vector<int64_t> rows = {0};
    const Segment segment{.first_token = 0, .tokens = 1, .position = 0, .slot = 0};
    ASSERT_TRUE(m.model->forward(
        {.ids = ids, .segments = std::span(&segment, 1), .logit_rows = rows}, m.sequences->memory(),
        dense(m.logits.as<float>().data(), 1, m.vocabulary())));
    const Status status = m.model->check_finite();
    ASSERT_FALSE(status) << backend;
    EXPECT_EQ(status.error().code, ErrorCode::kBadValue);
    EXPECT_TRUE(m.model->check_finite()) << "asking clears it";
  }
}

}  // namespace
}  // namespace hlwq::test
