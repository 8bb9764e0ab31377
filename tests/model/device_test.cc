// Models on a device whose memory is not the host's: loading through staging, what does not fit,
// recorded steps. FarBackend stands for the device; golden and load tests run on it too.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "model/read_weights.h"
#include "model/step_key.h"
#include "model/synthetic.h"
#include "tests/model/model_under_test.h"
#include "tests/model/quantized_checkpoint.h"
#include "tests/ops/far_backend.h"

namespace hlwq::test {
namespace {

const std::string kFolder = std::string(HLWQ_TEST_DATA) + "/nemotron_h_goldens/b/bf16";

std::unique_ptr<FarBackend> far(Compute compute = Compute::kInt8) {
  return std::make_unique<FarBackend>(make_reference_backend(compute));
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// Whatever the staging memory holds at once, every byte arrives.
TEST(ReadWeights, ThroughStagingOfAnySize) {
  const TemporaryCheckpoint coded(code_matrices(read_tensors(kFolder), {}), kFolder);
  for (const std::string& folder : {kFolder, coded.folder()}) {
    const auto checkpoint = Checkpoint::open(folder);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    const auto grid = snap_to_grid(codebook(CodebookKind::kGrid, 5));
    ASSERT_TRUE(grid);
    std::vector<WeightToRead> weights;
    for (const CheckpointTensor& tensor : checkpoint->tensors()) {
      if (tensor.shape.size() != 2) continue;
      Matrix form{.rows = tensor.shape[0], .cols = tensor.shape[1], .dtype = tensor.dtype};
      if (tensor.coded) {
        form.grid = &*grid;
        form.layout = layout_for(*grid);
      }
      weights.push_back({.source = {&*checkpoint, &tensor, -1}, .matrix = form});
    }
    ASSERT_GT(weights.size(), 20u);
    const auto read = [&](Backend& backend, int64_t staging) {
      std::vector<Buffer> memory;
      for (WeightToRead& weight : weights) {
        memory.push_back(*backend.allocate(weight.matrix.bytes(), "test"));
        weight.matrix.data = memory.back().data();
        weight.device = memory.back().device();
      }
      uint64_t done = 0, total = 0;
      const Status status = read_weights(
          weights, backend, 2,
          [&](uint64_t now, uint64_t of) {
            EXPECT_GT(now, done);
            done = now, total = of;
          },
          staging);
      EXPECT_TRUE(status) << status.error().message;
      EXPECT_EQ(done, total);
      std::vector<std::byte> all;
      for (const Buffer& buffer : memory) {
        const size_t at = all.size();
        all.resize(at + buffer.bytes());
        backend.download(all.data() + at, buffer.data(), buffer.bytes());
      }
      return all;
    };
    const auto host = make_reference_backend(Compute::kInt8);
    const std::vector<std::byte> want = read(*host, 1 << 30);
    for (const int64_t staging : {int64_t{1}, int64_t{700}, int64_t{20'000}, int64_t{1} << 30}) {
      const auto backend = far();
      EXPECT_TRUE(read(*backend, staging) == want) << staging;
    }
  }
}

// What does not fit is refused before anything is read, with the numbers and a way out.
TEST(LoadModel, RefusesWhatTheDeviceHasNoRoomFor) {
  constexpr int64_t kContext = 1 << 20;
  const auto load = [](size_t most_bytes, int64_t context) -> Error {
    const auto backend = far();
    backend->most_bytes_ = most_bytes;
    LoadOptions options;
    options.limits = {.tokens = 64, .logit_rows = 1, .context = context};
    options.sequence_bytes = [](const StateShape& shape, bool coded, int64_t tokens) {
      EXPECT_FALSE(coded);
      return static_cast<size_t>(shape.attention_layers * tokens) * 1000;
    };
    auto model = load_model(kFolder, *backend, options);
    if (model) return {ErrorCode::kInternal, "fits"};
    EXPECT_EQ(backend->memory().allocated, 0u) << "a failed load leaks";
    return model.error();
  };
  constexpr size_t kDriver = size_t{64} << 20;  // what is left to the driver
  const Error tiny = load(kDriver + 1000, 64);
  EXPECT_EQ(tiny.code, ErrorCode::kOutOfMemory);
  EXPECT_TRUE(contains(tiny.message, "the weights alone do not fit")) << tiny.message;
  const Error weights = load(kDriver + 800'000, 64);  // 1.04 MB, 0.39 of them experts
  EXPECT_TRUE(contains(weights.message, "--vram BYTES keeps experts in host memory"))
      << weights.message;
  const Error activations = load(kDriver + 1'100'000, 64);
  EXPECT_TRUE(contains(activations.message, "a smaller --prefill-chunk")) << activations.message;
  const Error context = load(kDriver + (size_t{100} << 20), kContext);
  EXPECT_EQ(context.code, ErrorCode::kOutOfMemory);
  EXPECT_TRUE(contains(context.message, "weights ") && contains(context.message, "activations ") &&
              contains(context.message, "sequences ") && contains(context.message, " are free"))
      << context.message;
  const size_t at = context.message.find("--context ");
  ASSERT_NE(at, std::string::npos) << context.message;
  const int64_t fits = std::stoll(context.message.substr(at + 10));
  EXPECT_GE(fits, 64);
  EXPECT_EQ(load(kDriver + (size_t{100} << 20), fits).message, "fits");
  EXPECT_EQ(load(kDriver + (size_t{100} << 20), fits + 64).code, ErrorCode::kOutOfMemory);
}

TEST(LoadModel, SaysWhatLiesWhere) {
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel, std::string_view line) { lines.emplace_back(line); });
  const auto backend = make_reference_backend(Compute::kExact);
  const auto model = make_synthetic_model("tiny", *backend, {.tokens = 8, .context = 64});
  set_log_sink({});
  ASSERT_TRUE(model);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(contains(lines[0], "memory on reference: weights ")) << lines[0];
}

// Only decode steps are recorded, and only the same calls share a key.
TEST(StepKey, TellsStepsApart) {
  std::vector<float> pools(100);
  std::vector<float*> conv = {pools.data()}, ssm = {pools.data() + 10};
  std::vector<int32_t> table(4);
  std::vector<KvPages> kv = {
      {reinterpret_cast<std::byte*>(pools.data() + 20), DType::kF16, 64, table.data(), 4}};
  MutF32View logits = dense(pools.data() + 50, 2, 10);
  std::vector<int32_t> ids = {1, 2};
  std::vector<Segment> segments = {{0, 1, 5, 0}, {1, 1, 9, 1}};
  std::vector<int64_t> rows = {0, 1};
  uint64_t model = 1;
  const auto key = [&] { return step_key(model, {ids, segments, rows}, {conv, ssm, kv}, logits); };
  const uint64_t first = key();
  EXPECT_NE(first, 0u);
  ids = {7, 8};
  segments = {{0, 1, 100, 3}, {1, 1, 0, 2}};
  EXPECT_EQ(key(), first) << "contents may change";
  std::set<uint64_t> keys = {first};
  const auto differs = [&](auto& value, auto other) {
    const auto old = std::exchange(value, other);
    EXPECT_TRUE(keys.insert(key()).second);
    value = old;
  };
  differs(model, uint64_t{2});
  differs(rows, std::vector<int64_t>{1});
  differs(rows, std::vector<int64_t>{0});
  differs(rows, std::vector<int64_t>{});
  differs(conv[0], pools.data() + 1);
  differs(ssm[0], pools.data() + 11);
  differs(kv[0].data, kv[0].data + 4);
  differs(kv[0].dtype, DType::kF32);
  differs(kv[0].tables, static_cast<const int32_t*>(table.data() + 1));
  differs(kv[0].table_stride, int64_t{3});
  differs(kv[0].page_bytes, int64_t{128});
  differs(logits.data, pools.data() + 60);
  differs(logits.stride, int64_t{11});
  EXPECT_EQ(key(), first);
  ids = {7, 8, 9};
  segments = {{0, 2, 100, 3}, {2, 1, 0, 2}};
  EXPECT_EQ(key(), 0u) << "a prompt";
}

class Replay : public testing::TestWithParam<std::string> {};

// A sequence decoded by steps that repeat one recording gives the bits of steps that are issued
// anew each time: those with an observer.
TEST_P(Replay, GivesTheBitsOfIssuedSteps) {
  ModelUnderTest m;
  m.backend = make_backend(GetParam());
  auto model = make_synthetic_model("tiny:seed=3", *m.backend,
                                    {.tokens = 64, .logit_rows = 64, .context = 400});
  ASSERT_TRUE(model) << model.error().message;
  m.model = *std::move(model);
  m.make_room();
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 60; ++i) prompt.push_back(i * 37 % 512);
  const StepObserver nothing;
  const auto decode = [&](const StepObserver* observer, int64_t slot) {
    std::vector<float> all = m.run(prompt, 0, slot, observer);
    std::vector<int32_t> id = {argmax(std::span(all).last(512))};
    for (int64_t position = 60; position < 140; ++position) {  // over two page boundaries
      const std::vector<float> logits = m.run(id, position, slot, observer);
      all.insert(all.end(), logits.begin(), logits.end());
      id = {argmax(logits)};
    }
    return all;
  };
  const std::vector<float> issued = decode(&nothing, 0);
  EXPECT_TRUE(issued == decode(nullptr, 2));
  EXPECT_TRUE(issued == decode(nullptr, 1));  // another slot, the same recording
  if (const auto* backend = dynamic_cast<const FarBackend*>(m.backend.get())) {
    EXPECT_EQ(backend->replays_, 2 * 80 - 1);
  }
}

// The same for steps of several sequences, at different positions.
TEST_P(Replay, OfABatch) {
  ModelUnderTest m;
  m.backend = make_backend(GetParam());
  auto model = make_synthetic_model("tiny:seed=4", *m.backend,
                                    {.tokens = 64, .logit_rows = 64, .context = 400});
  ASSERT_TRUE(model) << model.error().message;
  m.model = *std::move(model);
  m.make_room();
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 130; ++i) ids.push_back((i * i + 11) % 512);
  const auto prompt = std::span(ids).first(60);
  // Each sequence alone, decoding one token a step.
  std::vector<std::vector<float>> alone(3);
  const int64_t lengths[] = {60, 1, 33};
  const StepObserver nothing;
  for (size_t s = 0; s < 3; ++s) {
    (void)m.run(prompt.first(static_cast<size_t>(lengths[s])), 0, 0, &nothing);
    for (int64_t p = lengths[s]; p < lengths[s] + 70; ++p) {
      const auto logits = m.run(std::span(ids).subspan(static_cast<size_t>(p), 1), p, 0, &nothing);
      alone[s].insert(alone[s].end(), logits.begin(), logits.end());
    }
  }
  for (size_t s = 0; s < 3; ++s)
    (void)m.run(prompt.first(static_cast<size_t>(lengths[s])), 0, static_cast<int64_t>(s));
  std::vector<std::vector<float>> together(3);
  for (int64_t n = 0; n < 70; ++n) {
    std::vector<int32_t> step_ids;
    std::vector<Segment> segments;
    for (int64_t s = 0; s < 3; ++s) {
      const int64_t position = lengths[s] + n;
      step_ids.push_back(ids[static_cast<size_t>(position)]);
      segments.push_back({.first_token = s, .tokens = 1, .position = position, .slot = s});
    }
    const std::vector<float> logits = m.run_step(step_ids, segments);
    for (size_t s = 0; s < 3; ++s)
      together[s].insert(together[s].end(), logits.begin() + static_cast<ptrdiff_t>(s * 512),
                         logits.begin() + static_cast<ptrdiff_t>((s + 1) * 512));
  }
  for (size_t s = 0; s < 3; ++s) EXPECT_TRUE(alone[s] == together[s]) << "sequence " << s;
}

std::vector<std::string> both_computes() {
  std::vector<std::string> names = backend_names("int8");
  const std::vector<std::string> exact = backend_names("exact");
  names.insert(names.end(), exact.begin(), exact.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Tiny, Replay, testing::ValuesIn(both_computes()), [](const auto& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace hlwq::test
