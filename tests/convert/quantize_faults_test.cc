// What quantize refuses, and what it leaves behind when it does.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/random.h"
#include "convert/inspect.h"
#include "convert/quantize.h"
#include "tests/convert/fixtures.h"

namespace hlwq {
namespace {

namespace fs = std::filesystem;

float small_random(const std::string& name, int64_t i) {
  return 0.1f * static_cast<float>(random_uniform(name.size(), static_cast<uint64_t>(i)) - 0.5);
}

const std::vector<PlainTensor> kTensors = {{"layer.a.weight", {40, 256}, DType::kBF16},
                                           {"layer.norm.weight", {256}, DType::kBF16}};

void expect_refused(const std::string& in, const std::string& out, ErrorCode code,
                    const std::string& mentions) {
  const auto report = quantize_checkpoint(in, out, quick_options());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, code) << report.error().message;
  EXPECT_NE(report.error().message.find(mentions), std::string::npos) << report.error().message;
  if (fs::exists(out)) {
    EXPECT_TRUE(fs::is_empty(out)) << fs::directory_iterator(out)->path();
  }
}

TEST(QuantizeFaults, RefusesNanInCodedAndKeptTensors) {
  for (const std::string victim : {"layer.a.weight", "layer.norm.weight"}) {
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
      const ScratchFolder scratch;
      write_plain_checkpoint(scratch / "in", kTensors, [&](const std::string& name, int64_t i) {
        return name == victim && i == 200 ? bad : small_random(name, i);
      });
      expect_refused(scratch / "in", scratch / "out", ErrorCode::kBadValue, victim);
    }
  }
}

TEST(QuantizeFaults, RefusesNormsThatHalfCannotHold) {
  const ScratchFolder scratch;
  write_plain_checkpoint(scratch / "in", kTensors, [](const std::string& name, int64_t i) {
    return name == "layer.a.weight" ? 1e6f * small_random(name, i) : 1.0f;
  });
  expect_refused(scratch / "in", scratch / "out", ErrorCode::kBadValue, "layer.a.weight");
}

TEST(QuantizeFaults, RefusesTheSourceAsOutputAndAUsedFolder) {
  const ScratchFolder scratch;
  write_plain_checkpoint(scratch / "in", kTensors, small_random);
  QuantizeOptions options = quick_options();
  options.force = true;
  const auto same = quantize_checkpoint(scratch / "in", (scratch / "in") + "/.", options);
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(fs::exists(scratch / "in/model.safetensors"));

  options.force = false;
  ASSERT_TRUE(quantize_checkpoint(scratch / "in", scratch / "out", options));
  const auto before = folder_content(scratch / "out");
  const auto again = quantize_checkpoint(scratch / "in", scratch / "out", options);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("--force"), std::string::npos);
  EXPECT_EQ(folder_content(scratch / "out"), before);
  const auto twice = quantize_checkpoint(scratch / "out", scratch / "other", options);
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message.find("already HLWQ"), std::string::npos) << twice.error().message;
}

TEST(QuantizeFaults, RefusesAModelWithMissingTensors) {
  const ScratchFolder scratch;
  copy_checkpoint_without(tiny_model(), scratch / "in",
                          "layers.4.mixer.gate.e_score_correction_bias");
  expect_refused(scratch / "in", scratch / "out", ErrorCode::kMissing,
                 "backbone.layers.4.mixer.gate.e_score_correction_bias");
  const auto inspected = inspect_checkpoint(scratch / "in", {});
  ASSERT_TRUE(inspected) << inspected.error().message;
  EXPECT_EQ(inspected->missing,
            std::vector<std::string>{"backbone.layers.4.mixer.gate.e_score_correction_bias"});
}

TEST(QuantizeFaults, RefusesBadOptions) {
  const ScratchFolder scratch;
  write_plain_checkpoint(scratch / "in", kTensors, small_random);
  for (const int bits : {-1, 0, 1, 9}) {
    QuantizeOptions options = quick_options();
    options.bits = bits;
    EXPECT_EQ(quantize_checkpoint(scratch / "in", scratch / "out", options).error().code,
              ErrorCode::kInvalidArgument);
  }
  QuantizeOptions options = quick_options();
  options.profile = Profile::kHlwqQ5;
  EXPECT_EQ(quantize_checkpoint(scratch / "in", scratch / "out", options).error().code,
            ErrorCode::kInvalidArgument);
}

TEST(QuantizeFaults, TruncatedAndFlippedSourcesAreErrors) {
  const ScratchFolder scratch;
  write_plain_checkpoint(scratch / "in", kTensors, small_random);
  const std::string good = folder_content(scratch / "in").at("model.safetensors");
  int refused = 0;
  for (size_t cut = 0; cut < good.size(); cut += good.size() / 29 + 1) {
    std::ofstream(scratch / "in/model.safetensors", std::ios::binary) << good.substr(0, cut);
    const auto report = quantize_checkpoint(scratch / "in", scratch / "out", quick_options());
    ASSERT_FALSE(report) << cut;
    EXPECT_NE(report.error().message.find("model.safetensors"), std::string::npos)
        << report.error().message;
    EXPECT_FALSE(fs::exists(scratch / "out"));
    ++refused;
  }
  EXPECT_GT(refused, 20);
  // Any bit of the header may flip: an error or, where the header stays valid, a result; no crash.
  for (size_t bit = 0; bit < 8 * 200; bit += 7) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    std::ofstream(scratch / "in/model.safetensors", std::ios::binary) << bad;
    QuantizeOptions options = quick_options();
    options.force = true;
    (void)quantize_checkpoint(scratch / "in", scratch / "out", options);
  }
}

TEST(QuantizeFaults, FullDiskIsAnErrorAndLeavesNothingHalfWritten) {
  for (const rlim_t most : {4096u, 300000u}) {
    const ScratchFolder scratch;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // Writing beyond the limit fails with EFBIG, as ENOSPC would on a full disk.
      signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{most, most};
      setrlimit(RLIMIT_FSIZE, &limit);
      QuantizeOptions options = quick_options();
      options.threads = 1;
      const auto report = quantize_checkpoint(tiny_model(), scratch / "out", options);
      _exit(!report && report.error().code == ErrorCode::kIo &&
                    report.error().message.find("model-0000") != std::string::npos
                ? 0
                : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (const auto& [name, bytes] : folder_content(scratch / "out"))
      ADD_FAILURE() << name << " was left behind, " << bytes.size() << " bytes";
  }
}

}  // namespace
}  // namespace hlwq
