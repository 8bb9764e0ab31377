#include "convert/quantize.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <set>

#include "base/random.h"
#include "convert/compare.h"
#include "convert/inspect.h"
#include "model/tensor_names.h"
#include "tests/convert/fixtures.h"

namespace hlwq {
namespace {

namespace fs = std::filesystem;

// Bytes of a finished folder, quantized in one go with quick_options().
const std::map<std::string, std::string>& unbroken() {
  static const auto content = [] {
    const ScratchFolder scratch;
    const auto report = quantize_checkpoint(tiny_model(), scratch / "out", quick_options());
    if (!report) throw std::runtime_error(report.error().message);
    return folder_content(scratch / "out");
  }();
  return content;
}

TEST(Quantize, TinyModelIsCompleteAndClose) {
  const ScratchFolder scratch;
  QuantizeOptions options;  // the defaults
  const auto report = quantize_checkpoint(tiny_model(), scratch / "out", options);
  ASSERT_TRUE(report) << report.error().message;
  // 9 layers MEM*EMEME: 4 Mamba x 2, 4 MoE x (32 + 1) x 2, 1 attention x 4, embedding and head.
  EXPECT_EQ(report->quantized, 4 * 2 + 4 * 33 * 2 + 4 + 2);
  EXPECT_EQ(report->tensors, report->quantized + report->kept);
  EXPECT_GT(report->cosine_min, 0.9985);  // Gaussian at the optimum: sqrt(1 - 0.0025) = 0.99875
  EXPECT_LT(report->cosine_mean, 1.0);
  EXPECT_GT(report->snr_db, 26.0);

  const auto inspected =
      inspect_checkpoint(scratch / "out", {.verify = true, .threads = 2, .progress = {}});
  ASSERT_TRUE(inspected) << inspected.error().message;
  EXPECT_TRUE(inspected->missing.empty());
  EXPECT_TRUE(inspected->unknown.empty());
  EXPECT_TRUE(inspected->problems.empty());
  EXPECT_EQ(inspected->parameters, 17624672 + 4 * 32);  // and the correction biases
  EXPECT_EQ(inspected->architecture, "NemotronHForCausalLM");
  ASSERT_EQ(inspected->codebooks.size(), 1u);
  EXPECT_EQ(inspected->codebooks[0].origin, "grid");
  EXPECT_FALSE(inspected->codebooks[0].wide);

  const auto compared = compare_checkpoints(tiny_model(), scratch / "out", 2, {});
  ASSERT_TRUE(compared) << compared.error().message;
  EXPECT_NEAR(compared->cosine_min, report->cosine_min, 1e-6);
  EXPECT_EQ(compared->cosine_min_name, report->cosine_min_name);
}

TEST(Quantize, ProfilesHoldTheSameCodes) {
  const ScratchFolder scratch;
  QuantizeOptions options = quick_options();
  options.codebook = CodebookKind::kWire;
  options.norms = NormRule::kPlain;
  for (const Profile profile : {Profile::kV5Int8, Profile::kV5Packed, Profile::kHlwqQ5}) {
    options.profile = profile;
    const auto report =
        quantize_checkpoint(tiny_model(), scratch / std::string(name_of(profile)), options);
    ASSERT_TRUE(report) << report.error().message;
  }
  const auto a = Checkpoint::open(scratch / "v5-int8"), b = Checkpoint::open(scratch / "v5-packed"),
             c = Checkpoint::open(scratch / "hlwq-q5");
  ASSERT_TRUE(a && b && c);
  int compared = 0;
  for (const CheckpointTensor& tensor : a->tensors()) {
    if (!tensor.coded) continue;
    const CheckpointTensor* in_b = b->find(tensor.name);
    const CheckpointTensor* in_c = c->find(tensor.name);
    ASSERT_TRUE(in_b && in_c) << tensor.name;
    const auto cells = static_cast<size_t>(tensor.shape[0] * tensor.coded->blocks);
    std::vector<uint8_t> codes[3];
    std::vector<uint16_t> norms[3];
    for (auto& x : codes) x.assign(cells * 128, 255);
    for (auto& x : norms) x.assign(cells, 0xffff);
    ASSERT_TRUE(a->read_codes(tensor, 0, tensor.shape[0], codes[0], norms[0]));
    ASSERT_TRUE(b->read_codes(*in_b, 0, tensor.shape[0], codes[1], norms[1]));
    ASSERT_TRUE(c->read_codes(*in_c, 0, tensor.shape[0], codes[2], norms[2]));
    ASSERT_EQ(codes[0], codes[1]) << tensor.name;
    ASSERT_EQ(codes[0], codes[2]) << tensor.name;
    ASSERT_EQ(norms[0], norms[1]) << tensor.name;
    ASSERT_EQ(norms[0], norms[2]) << tensor.name;
    ++compared;
  }
  EXPECT_EQ(compared, 278);
}

TEST(Quantize, ThreadsDoNotChangeABit) {
  const ScratchFolder scratch;
  QuantizeOptions options = quick_options();
  options.threads = 1;
  ASSERT_TRUE(quantize_checkpoint(tiny_model(), scratch / "out", options));
  EXPECT_EQ(folder_content(scratch / "out"), unbroken());
}

TEST(Quantize, FusedExpertsAreWrittenOneByOneUnderNvidiasNames) {
  for (const char* model : {"a", "b", "c"}) {
    const std::string folder = std::string(HLWQ_TEST_DATA "/nemotron_h_goldens/") + model;
    const ScratchFolder scratch;
    ASSERT_TRUE(quantize_checkpoint(folder + "/fp32", scratch / "out", quick_options()));
    const auto config = read_model_config(scratch / "out");
    ASSERT_TRUE(config) << config.error().message;
    std::set<std::string> names;
    const auto written = Checkpoint::open(scratch / "out");
    ASSERT_TRUE(written) << written.error().message;
    for (const CheckpointTensor& tensor : written->tensors()) names.insert(tensor.name);
    for (const ExpectedTensor& expected : expected_tensors(*config))
      EXPECT_TRUE(names.erase(expected.name)) << expected.name;
    EXPECT_TRUE(names.empty()) << *names.begin();
  }
}

TEST(Quantize, EveryWidthAndKeptNames) {
  const ScratchFolder scratch;
  const std::vector<PlainTensor> tensors = {{"layer.a.weight", {24, 200}, DType::kBF16},
                                            {"layer.b.weight", {8, 72}, DType::kF32},
                                            {"layer.c.weight", {16, 384}, DType::kF16},
                                            {"layer.bias", {24}, DType::kF32}};
  write_plain_checkpoint(scratch / "in", tensors, [](const std::string& name, int64_t i) {
    return 0.05f * static_cast<float>(random_uniform(name.size(), static_cast<uint64_t>(i)) - 0.5);
  });
  double last = 0;
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    QuantizeOptions options = quick_options();
    options.bits = bits;
    options.keep = {"*.c.*"};
    options.force = true;
    const auto report = quantize_checkpoint(scratch / "in", scratch / "out", options);
    ASSERT_TRUE(report) << bits << ": " << report.error().message;
    EXPECT_EQ(report->quantized, 2);
    const auto compared = compare_checkpoints(scratch / "in", scratch / "out", 1, {});
    ASSERT_TRUE(compared) << compared.error().message;
    EXPECT_GT(compared->snr_db, last + 3) << bits;  // about 6 dB a bit
    last = compared->snr_db;
    for (const ComparedTensor& tensor : compared->tensors) {
      if (tensor.name == "layer.c.weight") {
        EXPECT_EQ(tensor.cosine, 1.0);
      }
    }
  }
}

TEST(Quantize, CancelledRunLeavesNoModelAndResumes) {
  const ScratchFolder scratch;
  for (const double stop_at : {0.05, 0.4, 0.9}) {
    QuantizeOptions options = quick_options();
    options.resume = true;
    options.progress = [&](uint64_t done, uint64_t total) {
      return static_cast<double>(done) < stop_at * static_cast<double>(total);
    };
    const auto cancelled = quantize_checkpoint(tiny_model(), scratch / "out", options);
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
    for (const auto& [name, bytes] : folder_content(scratch / "out")) {
      EXPECT_NE(name, "config.json");
      EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;
    }
  }
  QuantizeOptions options = quick_options();
  options.resume = true;
  ASSERT_TRUE(quantize_checkpoint(tiny_model(), scratch / "out", options));
  EXPECT_EQ(folder_content(scratch / "out"), unbroken());
}

TEST(Quantize, KilledRunResumesToTheSameBytes) {
  (void)unbroken();  // before the fork: the child must not inherit a half-made static
  for (const int milliseconds : {5, 30, 60, 100, 150}) {
    const ScratchFolder scratch;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      QuantizeOptions options = quick_options();
      options.threads = 1;
      (void)quantize_checkpoint(tiny_model(), scratch / "out", options);
      _exit(0);
    }
    usleep(static_cast<useconds_t>(milliseconds) * 1000);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    QuantizeOptions options = quick_options();
    options.resume = true;
    const auto report = quantize_checkpoint(tiny_model(), scratch / "out", options);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(folder_content(scratch / "out"), unbroken())
        << "killed after " << milliseconds << " ms";
  }
}

TEST(Quantize, DryRunWritesNothingAndKnowsTheSize) {
  const ScratchFolder scratch;
  QuantizeOptions options = quick_options();
  options.dry_run = true;
  const auto report = quantize_checkpoint(tiny_model(), scratch / "out", options);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_FALSE(fs::exists(scratch / "out"));
  uint64_t weights = 0;
  for (const auto& [name, bytes] : unbroken())
    if (name.ends_with(".safetensors")) weights += bytes.size();
  // Planned bytes are those of tensors; headers come on top.
  EXPECT_LE(report->output_bytes, weights);
  EXPECT_GT(static_cast<double>(report->output_bytes), 0.97 * static_cast<double>(weights));
}

}  // namespace
}  // namespace hlwq
