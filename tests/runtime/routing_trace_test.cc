// Routing traces: what a model's router chose comes back from the file, and no file that is not one
// is taken for one.

#include "runtime/experts/routing_trace.h"

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/backends.h"
#include "model/synthetic.h"
#include "runtime/session.h"
#include "tests/io/temp_folder.h"

namespace hlwq::test {
namespace {

using testing_support::get;
using testing_support::put;
using testing_support::TempFolder;

ModelConfig config_of(const std::string& spec) { return parse_synthetic_spec(spec)->config; }

std::vector<int32_t> ids_of(size_t count) {
  std::vector<int32_t> ids(count);
  for (size_t i = 0; i < count; ++i) ids[i] = static_cast<int32_t>((i * 37 + 11) % 512);
  return ids;
}

// A prompt of 24 tokens in chunks of 10, three steps of two sequences; returns the logits' bytes.
std::string run_tiny(RoutingRecorder* trace) {
  const auto backend = *make_cpu_backend({.threads = 2});
  const auto model =
      *make_synthetic_model("tiny", *backend, {.tokens = 32, .logit_rows = 2, .context = 64});
  auto session =
      *Session::create(*backend, *model, {.sequences = 2, .context = 64, .prefill_chunk = 10});
  session.set_trace(trace);
  const Buffer buffer = *session.allocate_logits(2);
  const MutF32View logits = dense(buffer.as<float>().data(), 2, session.vocabulary());
  const std::vector<int32_t> prompt = ids_of(24);
  std::vector<SequenceInput> inputs = {{*session.open(), prompt}, {*session.open(), prompt}};
  EXPECT_TRUE(session.prefill(std::span(inputs).first(1), logits));
  std::vector<int32_t> next = {5, 6};
  const std::vector<SampleRow> greedy(2);
  for (int step = 0; step < 3; ++step) {
    for (size_t i = 0; i < 2; ++i) inputs[i].ids = {&next[i], 1};
    EXPECT_TRUE(session.decode(inputs, greedy, logits, next));
  }
  const auto bytes = buffer.bytes();
  std::string text(reinterpret_cast<const char*>(buffer.data()), bytes);
  return text;
}

TEST(RoutingTrace, HoldsWhatTheRouterChose) {
  const TempFolder folder;
  const std::string path = folder.file("trace");
  auto recorder = RoutingRecorder::create(path, config_of("tiny"));
  ASSERT_TRUE(recorder) << recorder.error().message;
  EXPECT_EQ(run_tiny(&*recorder), run_tiny(nullptr)) << "looking changes nothing";
  EXPECT_FALSE(file_exists(path)) << "not before it is complete";
  ASSERT_TRUE(recorder->commit());
  const auto trace = read_routing_trace(path);
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->shape, (RoutingShape{.layers = 3, .experts = 16, .used = 3}));
  std::vector<std::pair<bool, int64_t>> steps;
  for (const RoutingStep& step : trace->steps) {
    steps.emplace_back(step.prompt, step.tokens);
    EXPECT_EQ(trace->of(step).size(), static_cast<size_t>(9 * step.tokens));
  }
  const std::vector<std::pair<bool, int64_t>> expected = {{true, 10}, {true, 10}, {true, 4},
                                                          {false, 2}, {false, 2}, {false, 2}};
  EXPECT_EQ(steps, expected);
}

TEST(RoutingTrace, ThatIsNotFinishedLeavesNothing) {
  const TempFolder folder;
  { auto recorder = RoutingRecorder::create(folder.file("trace"), config_of("tiny")); }
  EXPECT_TRUE(folder.names().empty());
}

TEST(RoutingTrace, NeedsLayersOfOneShape) {
  ModelConfig config = config_of("tiny");
  config.layers.back().moe.experts = 8;
  EXPECT_EQ(routing_shape_of(config).error().code, ErrorCode::kUnsupported);
  config.layers.clear();
  const TempFolder folder;
  EXPECT_EQ(RoutingRecorder::create(folder.file("trace"), config).error().code,
            ErrorCode::kUnsupported);
  EXPECT_TRUE(folder.names().empty());
}

// Two layers of four experts, two used: a prompt of two tokens, a decoded one.
class HostileTrace : public testing::Test {
 protected:
  HostileTrace() {
    const auto add = [&](auto value) {
      bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    bytes_ = "HLWQROUT";
    for (const uint32_t number : {1u, 2u, 4u, 2u}) add(number);
    add(uint64_t{2});
    add(uint32_t{2}), add(uint32_t{1});
    for (const uint16_t id : {0, 1, 0, 3, 1, 2, 2, 3}) add(id);
    add(uint32_t{1}), add(uint32_t{0});
    for (const uint16_t id : {0, 3, 1, 2}) add(id);
  }
  Result<RoutingTrace> read(const std::string& bytes) {
    put(folder_.file("trace"), bytes);
    auto trace = read_routing_trace(folder_.file("trace"));
    if (!trace) {
      EXPECT_NE(trace.error().message.find(folder_.file("trace")), std::string::npos);
    }
    return trace;
  }
  template <typename T>
  ErrorCode refused_with(size_t offset, T value) {
    std::string changed = bytes_;
    std::memcpy(changed.data() + offset, &value, sizeof value);
    const auto trace = read(changed);
    if (trace) return ErrorCode::kInternal;
    return trace.error().code;
  }

  TempFolder folder_;
  std::string bytes_;
};

TEST_F(HostileTrace, TheHonestOneIsRead) {
  const auto trace = read(bytes_);
  ASSERT_TRUE(trace) << trace.error().message;
  ASSERT_EQ(trace->steps.size(), 2u);
  EXPECT_TRUE(trace->steps[0].prompt);
  EXPECT_EQ(trace->ids, (std::vector<uint16_t>{0, 1, 0, 3, 1, 2, 2, 3, 0, 3, 1, 2}));
}

TEST_F(HostileTrace, EveryOtherLengthIsRefused) {
  EXPECT_EQ(read_routing_trace(folder_.file("none")).error().code, ErrorCode::kMissing);
  for (size_t length = 0; length < bytes_.size(); ++length)
    EXPECT_FALSE(read(bytes_.substr(0, length))) << length;
  EXPECT_EQ(read(bytes_ + "x").error().code, ErrorCode::kBadLayout);
}

TEST_F(HostileTrace, WrongNumbersAreRefused) {
  EXPECT_EQ(refused_with(0, 'h'), ErrorCode::kBadHeader);
  EXPECT_EQ(refused_with(8, uint32_t{2}), ErrorCode::kUnsupported);
  for (const uint32_t number : {0u, 65537u, ~0u})
    for (const size_t offset : {12u, 16u, 20u})
      EXPECT_EQ(refused_with(offset, number), ErrorCode::kBadHeader) << offset;
  EXPECT_EQ(refused_with(20, uint32_t{5}), ErrorCode::kBadHeader) << "more used than there are";
  EXPECT_EQ(refused_with(24, uint64_t{1}), ErrorCode::kBadLayout);
  EXPECT_EQ(refused_with(24, uint64_t{3}), ErrorCode::kBadLayout);
  EXPECT_EQ(refused_with(24, ~uint64_t{0}), ErrorCode::kBadLayout);
  EXPECT_EQ(refused_with(32, uint32_t{0}), ErrorCode::kBadValue);
  EXPECT_EQ(refused_with(32, ~uint32_t{0}), ErrorCode::kBadValue);
  EXPECT_EQ(refused_with(32, uint32_t{1} << 20), ErrorCode::kBadLayout);
  EXPECT_EQ(refused_with(36, uint32_t{2}), ErrorCode::kBadValue);
  EXPECT_EQ(refused_with(40, uint16_t{1}), ErrorCode::kBadValue) << "twice the same";
  EXPECT_EQ(refused_with(40, uint16_t{2}), ErrorCode::kBadValue) << "descending";
  EXPECT_EQ(refused_with(42, uint16_t{4}), ErrorCode::kBadValue) << "no such expert";
}

}  // namespace
}  // namespace hlwq::test
