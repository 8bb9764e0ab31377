// The tiny model, calibrated on a few windows of random ids.

#include "calibrate/text_calibration.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"
#include "calibrate/allocate_bits.h"
#include "calibrate/sensitivity.h"
#include "convert/compare.h"
#include "kernels/backends.h"
#include "tests/convert/fixtures.h"
#include "tests/ops/far_backend.h"

namespace hlwq {
namespace {

std::vector<int32_t> random_ids(size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>(random_bits(9, i) % 8192);
  return ids;
}

class TextCalibrated : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = make_cpu_backend({.threads = 2, .compute = Compute::kExact});
    ASSERT_TRUE(backend) << backend.error().message;
    backend_ = std::move(*backend);
  }
  std::unique_ptr<TextModel> open(size_t tokens, int64_t window = 128) {
    auto model = TextModel::create(tiny_model(), *backend_,
                                   {.ids = random_ids(tokens), .name = "ids", .window = window});
    EXPECT_TRUE(model) << model.error().message;
    return model ? std::move(*model) : nullptr;
  }
  // The tiny model quantized with a calibration, in several shards.
  std::map<std::string, std::string> quantize(TextCalibration& calibration, const std::string& out,
                                              bool resume = false) {
    QuantizeOptions options = quick_options();
    options.norms = NormRule::kSearch;
    options.calibration = &calibration;
    options.resume = resume;
    const auto report = quantize_checkpoint(tiny_model(), out, options);
    EXPECT_TRUE(report) << report.error().message;
    if (report) report_ = *report;
    return folder_content(out);
  }
  std::unique_ptr<HostBackend> backend_;
  QuantizeReport report_;
  ScratchFolder scratch_;
};

TEST_F(TextCalibrated, KnowsEveryMatrixAndListsThoseItHardlySaw) {
  const auto model = open(1024);
  ASSERT_TRUE(model);
  TextCalibration calibration(*model, {.fewest_tokens = 128});
  quantize(calibration, scratch_ / "out");
  // 1,024 tokens, 4 of 32 experts each: some experts got fewer than 128.
  std::set<std::string> names;
  for (const UncoveredMatrix& matrix : report_.uncovered) {
    EXPECT_NE(matrix.name.find(".experts."), std::string::npos) << matrix.name;
    EXPECT_LT(matrix.tokens, 128) << matrix.name;
    EXPECT_TRUE(names.insert(matrix.name).second) << matrix.name;
  }
  EXPECT_FALSE(names.empty());
  EXPECT_LT(names.size(), 256u);
  // Both matrices of an expert see the same tokens. Embeddings are looked up: not listed.
  for (const std::string& name : names) {
    const size_t up = name.find("up_proj");
    if (up == std::string::npos) continue;
    EXPECT_TRUE(names.contains(name.substr(0, up) + "down_proj.weight")) << name;
  }
  // Those are rounded as without calibration, the others are not.
  const auto plain = quantize_checkpoint(tiny_model(), scratch_ / "plain", [] {
    QuantizeOptions options = quick_options();
    options.norms = NormRule::kSearch;
    return options;
  }());
  ASSERT_TRUE(plain) << plain.error().message;
  const auto a = Checkpoint::open(scratch_ / "out"), b = Checkpoint::open(scratch_ / "plain");
  ASSERT_TRUE(a && b);
  int equal = 0, other = 0;
  for (const CheckpointTensor& tensor : a->tensors()) {
    if (!tensor.coded) continue;
    const int64_t rows = tensor.shape[0], cols = tensor.shape[1];
    std::vector<float> x(static_cast<size_t>(rows * cols)), y(x.size());
    ASSERT_TRUE(a->read_f32(tensor, 0, rows, x));
    ASSERT_TRUE(b->read_f32(*b->find(tensor.name), 0, rows, y));
    const bool same = x == y;
    const bool rounded_plainly = names.contains(tensor.name) ||
                                 names.contains(tensor.name + ".weight") ||
                                 tensor.name.find("embeddings") != std::string::npos;
    EXPECT_EQ(same, rounded_plainly) << tensor.name;
    (same ? equal : other) += 1;
  }
  EXPECT_GT(equal, 1);
  EXPECT_GT(other, 20);
}

TEST_F(TextCalibrated, HowMuchIsLearntAtOnceChangesNothing) {
  const auto model = open(512);
  ASSERT_TRUE(model);
  TextCalibration roomy(*model, {.fewest_tokens = 16});
  const auto at_once = quantize(roomy, scratch_ / "a");
  TextCalibration narrow(*model, {.fewest_tokens = 16, .memory_bytes = size_t{8} << 20});
  const auto in_parts = quantize(narrow, scratch_ / "b");
  EXPECT_EQ(at_once, in_parts);
  EXPECT_FALSE(at_once.empty());
}

// On a device whose memory the host cannot read.
TEST_F(TextCalibrated, ADeviceGivesTheSameBytes) {
  const auto model = open(512);
  ASSERT_TRUE(model);
  TextCalibration on_host(*model, {.fewest_tokens = 16});
  const auto wanted = quantize(on_host, scratch_ / "a");
  auto inner = make_cpu_backend({.threads = 2, .compute = Compute::kExact});
  ASSERT_TRUE(inner);
  test::FarBackend far(std::move(*inner));
  const auto far_model =
      TextModel::create(tiny_model(), far, {.ids = random_ids(512), .name = "ids", .window = 128});
  ASSERT_TRUE(far_model) << far_model.error().message;
  TextCalibration on_device(**far_model, {.fewest_tokens = 16});
  EXPECT_EQ(quantize(on_device, scratch_ / "b"), wanted);
}

TEST_F(TextCalibrated, AResumedRunEndsWithTheSameBytes) {
  const auto model = open(512);
  ASSERT_TRUE(model);
  TextCalibration calibration(*model, {.fewest_tokens = 16});
  const auto unbroken = quantize(calibration, scratch_ / "a");
  QuantizeOptions options = quick_options();
  options.norms = NormRule::kSearch;
  options.calibration = &calibration;
  int reports = 0;
  options.progress = [&](uint64_t, uint64_t) { return ++reports < 40; };
  const auto broken = quantize_checkpoint(tiny_model(), scratch_ / "b", options);
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::kCancelled);
  EXPECT_EQ(quantize(calibration, scratch_ / "b", /*resume=*/true), unbroken);
}

TEST_F(TextCalibrated, ACancelledTextStopsTheJob) {
  const auto model = open(512);
  ASSERT_TRUE(model);
  const std::atomic<bool> cancel = true;
  model->cancel = &cancel;
  TextCalibration calibration(*model, {});
  QuantizeOptions options = quick_options();
  options.calibration = &calibration;
  const auto report = quantize_checkpoint(tiny_model(), scratch_ / "out", options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(folder_content(scratch_ / "out").contains("config.json"));
}

TEST_F(TextCalibrated, AShortTextIsRefused) {
  const auto model =
      TextModel::create(tiny_model(), *backend_, {.ids = random_ids(100), .name = "short.txt"});
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(model.error().message.find("short.txt: 100 tokens"), std::string::npos)
      << model.error().message;
}

TEST_F(TextCalibrated, SensitivitiesLeaveTheModelAsItWas) {
  const auto model = open(256);
  ASSERT_TRUE(model);
  std::vector<float> before, after;
  const auto logits_into = [](std::vector<float>& out) {
    return [&out](int64_t, F32View logits) {
      for (int64_t r = 0; r < logits.rows; ++r)
        out.insert(out.end(), logits.row(r), logits.row(r) + logits.cols);
    };
  };
  ASSERT_TRUE(model->run(2, logits_into(before)));
  const auto source = open_source(tiny_model());
  ASSERT_TRUE(source);
  std::vector<SourceTensor> tensors;
  for (const SourceTensor& tensor : source->tensors) {
    if (tensor.name == "lm_head.weight" || tensor.name.find("out_proj") != std::string::npos ||
        tensor.name == "backbone.layers.3.mixer.k_proj.weight")
      tensors.push_back(tensor);
  }
  const auto kinds = measure_sensitivity(*model, tensors, {.tokens = 256});
  ASSERT_TRUE(kinds) << kinds.error().message;
  ASSERT_TRUE(model->run(2, logits_into(after)));
  EXPECT_EQ(before, after);

  ASSERT_EQ(kinds->size(), 3u);
  for (const KindSensitivity& kind : *kinds) {
    EXPECT_GT(kind.probe_kl, 0) << kind.kind;
    EXPECT_LT(kind.probe_kl, 1) << kind.kind;
    for (int bits = kLeastBits; bits < kMostBits; ++bits)
      EXPECT_GT(kind.error[static_cast<size_t>(bits)], kind.error[static_cast<size_t>(bits + 1)])
          << kind.kind;
  }
  EXPECT_EQ((*kinds)[1].kind, "mixer.k_proj.weight");
  EXPECT_EQ((*kinds)[1].weights, 256 * 256);
  EXPECT_EQ((*kinds)[2].kind, "mixer.out_proj.weight");
  EXPECT_EQ((*kinds)[2].matrices, 4);
}

// 3 to 8 bits in one file, read back.
TEST_F(TextCalibrated, MixedWidthsArePackedAndRead) {
  QuantizeOptions options = quick_options();
  options.profile = Profile::kPacked;
  options.bits_of_kind = {{"lm_head.weight", 6},
                          {"mixer.k_proj.weight", 7},
                          {"mixer.out_proj.weight", 3},
                          {"mixer.q_proj.weight", 8},
                          {"mixer.experts.down_proj.weight", 4}};
  const auto report = quantize_checkpoint(tiny_model(), scratch_ / "mixed", options);
  ASSERT_TRUE(report) << report.error().message;
  const auto mixed = Checkpoint::open(scratch_ / "mixed");
  ASSERT_TRUE(mixed) << mixed.error().message;
  uint64_t coded_bytes = 0, weights = 0;
  for (const CheckpointTensor& tensor : mixed->tensors()) {
    if (!tensor.coded) continue;
    const int bits = tensor.name.find("lm_head") != std::string::npos    ? 6
                     : tensor.name.find("k_proj") != std::string::npos   ? 7
                     : tensor.name.find("out_proj") != std::string::npos ? 3
                     : tensor.name.find("q_proj") != std::string::npos   ? 8
                     : tensor.name.find(".experts.") != std::string::npos &&
                             tensor.name.find("down_proj") != std::string::npos &&
                             tensor.name.find("shared") == std::string::npos
                         ? 4
                         : 5;
    EXPECT_EQ(tensor.coded->bits, bits) << tensor.name;
    const int64_t blocks = tensor.shape[0] * blocks_of(tensor.shape[1]);
    coded_bytes += static_cast<uint64_t>(blocks * (16 * bits + 2));
    weights += static_cast<uint64_t>(tensor.shape[0] * tensor.shape[1]);
  }
  EXPECT_NEAR(report->bits_per_weight,
              static_cast<double>(coded_bytes) * 8 / static_cast<double>(weights), 1e-9);
  EXPECT_LT(report->output_bytes, coded_bytes + 700000);  // and what is kept
  const auto compared = compare_checkpoints(tiny_model(), scratch_ / "mixed", 2, {});
  ASSERT_TRUE(compared) << compared.error().message;
  EXPECT_GT(compared->cosine_min, 0.95);
}

}  // namespace
}  // namespace hlwq
