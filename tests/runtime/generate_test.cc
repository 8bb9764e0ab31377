#include "runtime/generate.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/runtime/fake_model.h"

namespace hlwq {
namespace {

constexpr int64_t kVocabulary = 50;

// Ids 0..25 are letters, the rest a letter and a blank.
class Letters : public TokenText {
 public:
  static std::string of(int32_t id) {
    const std::string letter(1, static_cast<char>('a' + id % 26));
    return id < 26 ? letter : letter + " ";
  }
  std::string append(int32_t id) override { return of(id); }
  std::string finish() override { return "$"; }
};

std::vector<int32_t> prompt_of(size_t n) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int32_t>((7 * i + 3) % kVocabulary);
  return ids;
}

// Greedy continuation without a session: whole sequence, argmax, again.
std::vector<int32_t> greedy(const FakeModel& model, std::vector<int32_t> ids, size_t n) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < n; ++i) {
    const std::vector<float> row = model.logits_after(ids);
    out.push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
    ids.push_back(out.back());
  }
  return out;
}

class GenerateTest : public testing::Test {
 protected:
  Session session(int64_t context, int64_t chunk) {
    auto made = Session::create(backend_, model_, {.context = context, .prefill_chunk = chunk});
    EXPECT_TRUE(made) << made.error().message;
    return std::move(*made);
  }
  FakeBackend backend_;
  FakeModel model_{kVocabulary};
  Letters letters_;
};

TEST_F(GenerateTest, GreedyDoesNotDependOnThePrefillChunk) {
  const std::vector<int32_t> prompt = prompt_of(37);
  const std::vector<int32_t> expected = greedy(model_, prompt, 20);
  for (const int64_t chunk : {1, 5, 36, 37, 38, 512}) {
    SCOPED_TRACE(chunk);
    Session s = session(100, chunk);
    model_.widest_step_ = 0;
    const auto out = generate(s, prompt, {.max_tokens = 20, .sampler = {.temperature = 0}});
    ASSERT_TRUE(out) << out.error().message;
    EXPECT_EQ(out->ids, expected);
    EXPECT_EQ(out->reason, FinishReason::kLength);
    EXPECT_EQ(out->prompt_tokens, 37);
    EXPECT_EQ(out->decode_steps, 19);
    EXPECT_EQ(model_.widest_step_, std::min<int64_t>(chunk, 37));
  }
}

TEST_F(GenerateTest, TheSequenceIsClosedHoweverItEnds) {
  Session s = session(64, 8);
  for (int i = 0; i < 3; ++i)  // the session has one slot: a leak would fail the second round
    ASSERT_TRUE(generate(s, prompt_of(10), {.max_tokens = 2}));
  EXPECT_FALSE(generate(s, std::vector<int32_t>{1, 50}, {.max_tokens = 2}));
  model_.fail_at_ = model_.forwards_ + 2;
  const auto broken = generate(s, prompt_of(10), {.max_tokens = 5});
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::kBadValue);
  EXPECT_TRUE(generate(s, prompt_of(10), {.max_tokens = 2}));
}

TEST_F(GenerateTest, ReportsLogitsNothingCanBeChosenFrom) {
  FakeModel hopeless(1);
  hopeless.poisoned_ = 0;
  auto made = Session::create(backend_, hopeless, {.context = 16});
  ASSERT_TRUE(made);
  for (const double temperature : {0.0, 0.8}) {
    const auto got = generate(*made, std::vector<int32_t>{0, 0, 0},
                              {.max_tokens = 2, .sampler = {.temperature = temperature}});
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::kBadValue);
    EXPECT_NE(got.error().message.find("position 3"), std::string::npos) << got.error().message;
  }
}

// A token costs one wait for the device: the check of its step.
TEST_F(GenerateTest, EachTokenIsCheckedOnce) {
  Session s = session(64, 4);
  const auto out = generate(s, prompt_of(10), {.max_tokens = 8, .sampler = {.temperature = 0}});
  ASSERT_TRUE(out);
  EXPECT_EQ(model_.forwards_, 3 + 7);
  EXPECT_EQ(model_.checks_, 1 + 7);
}

TEST_F(GenerateTest, StopsAtAStopId) {
  const std::vector<int32_t> prompt = prompt_of(9);
  const std::vector<int32_t> expected = greedy(model_, prompt, 6);
  Session s = session(64, 8);
  const auto out = generate(s, prompt,
                            {.max_tokens = 20,
                             .sampler = {.temperature = 0},
                             .stop_ids = {-1, expected[3]},
                             .text = &letters_});
  ASSERT_TRUE(out);
  const size_t n = static_cast<size_t>(std::find(expected.begin(), expected.end(), expected[3]) -
                                       expected.begin());
  EXPECT_EQ(out->reason, FinishReason::kStop);
  EXPECT_EQ(out->ids, std::vector<int32_t>(expected.begin(), expected.begin() + n + 1));
  std::string text;
  for (size_t i = 0; i < n; ++i) text += Letters::of(expected[i]);
  EXPECT_EQ(out->text, text + "$");
}

TEST_F(GenerateTest, StopStringAcrossTokensIsCutOutOfTextAndStream) {
  const std::vector<int32_t> prompt = prompt_of(9);
  const std::vector<int32_t> expected = greedy(model_, prompt, 12);
  std::string text;
  for (const int32_t id : expected) text += Letters::of(id);
  const std::string stop = text.substr(4, 5);
  Session s = session(64, 8);
  std::string streamed;
  const auto out = generate(s, prompt,
                            {.max_tokens = 40,
                             .sampler = {.temperature = 0},
                             .stop_strings = {"never", stop},
                             .text = &letters_,
                             .on_piece = [&](const Piece& piece) {
                               streamed += piece.text;
                               return true;
                             }});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->reason, FinishReason::kStop);
  EXPECT_EQ(out->text, text.substr(0, text.find(stop)));
  EXPECT_EQ(streamed, out->text);
}

TEST_F(GenerateTest, HeldBackTextComesOutAtTheEnd) {
  const std::vector<int32_t> prompt = prompt_of(9);
  std::string text;
  for (const int32_t id : greedy(model_, prompt, 6)) text += Letters::of(id);
  std::string streamed;
  Session s = session(64, 8);
  const auto out = generate(s, prompt,
                            {.max_tokens = 6,
                             .sampler = {.temperature = 0},
                             .stop_strings = {text + "$!"},
                             .text = &letters_,
                             .on_piece = [&](const Piece& piece) {
                               streamed += piece.text;
                               return true;
                             }});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->text, text + "$");
  EXPECT_EQ(streamed, text + "$");
  EXPECT_EQ(out->reason, FinishReason::kLength);
}

TEST_F(GenerateTest, EndsWhenTheContextIsFull) {
  Session s = session(16, 8);
  const auto out =
      generate(s, prompt_of(10), {.max_tokens = 1'000'000'000, .sampler = {.temperature = 0}});
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(out->reason, FinishReason::kContext);
  // Six tokens are fed after the prompt; the seventh is chosen but not fed.
  EXPECT_EQ(out->ids, greedy(model_, prompt_of(10), 7));
}

TEST_F(GenerateTest, CallbackAndFlagCancel) {
  Session s = session(64, 8);
  int pieces = 0;
  const auto by_callback = generate(
      s, prompt_of(10),
      {.max_tokens = 30, .text = &letters_, .on_piece = [&](auto) { return ++pieces < 3; }});
  ASSERT_TRUE(by_callback);
  EXPECT_EQ(by_callback->reason, FinishReason::kCancelled);
  EXPECT_EQ(pieces, 3);
  EXPECT_EQ(by_callback->ids.size(), 3u);

  std::atomic<bool> cancel = false;
  const auto by_flag = generate(
      s, prompt_of(10),
      {.max_tokens = 30, .text = &letters_, .cancel = &cancel, .on_piece = [&](const Piece&) {
         return cancel = true;
       }});
  ASSERT_TRUE(by_flag);
  EXPECT_EQ(by_flag->reason, FinishReason::kCancelled);
  EXPECT_EQ(by_flag->ids.size(), 1u);
  const auto at_once = generate(s, prompt_of(10), {.max_tokens = 30, .cancel = &cancel});
  ASSERT_TRUE(at_once);
  EXPECT_EQ(at_once->reason, FinishReason::kCancelled);
  EXPECT_TRUE(at_once->ids.empty());
}

TEST_F(GenerateTest, RefusesPromptsThatCannotBe) {
  Session s = session(16, 8);
  const auto empty = generate(s, {}, {});
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, ErrorCode::kInvalidArgument);
  const auto longer = generate(s, prompt_of(17), {});
  ASSERT_FALSE(longer);
  EXPECT_NE(longer.error().message.find("17 tokens"), std::string::npos);
  const auto outside = generate(s, std::vector<int32_t>{3, -1}, {});
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(outside.error().message.find("-1 at position 1"), std::string::npos);
}

TEST_F(GenerateTest, NothingAskedForGivesNothing) {
  Session s = session(16, 8);
  const auto out = generate(s, prompt_of(3), {.max_tokens = 0});
  ASSERT_TRUE(out);
  EXPECT_TRUE(out->ids.empty());
  EXPECT_EQ(out->reason, FinishReason::kLength);
  EXPECT_EQ(out->decode_rate(), 0.0);
}

TEST_F(GenerateTest, ASeedGivesOneText) {
  Session s = session(64, 8);
  const auto ids = [&](uint64_t seed) {
    return generate(s, prompt_of(5), {.max_tokens = 30, .sampler = {.seed = seed}})->ids;
  };
  EXPECT_EQ(ids(1), ids(1));
  EXPECT_NE(ids(1), ids(2));
}

TEST_F(GenerateTest, SequencesOfUnequalLengthSideBySide) {
  auto s = Session::create(backend_, model_, {.sequences = 4, .context = 40, .prefill_chunk = 8});
  ASSERT_TRUE(s);
  const std::vector<std::vector<int32_t>> prompts = {prompt_of(20), prompt_of(3), prompt_of(8),
                                                     prompt_of(17)};
  std::vector<SequenceInput> inputs;
  for (const auto& prompt : prompts) inputs.push_back({*s->open(), prompt});
  std::vector<float> logits(4 * kVocabulary, std::numeric_limits<float>::quiet_NaN());
  ASSERT_TRUE(s->prefill(inputs, dense(logits.data(), 4, kVocabulary)));
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(s->position(inputs[i].slot), static_cast<int64_t>(prompts[i].size()));
    EXPECT_EQ(std::vector<float>(logits.begin() + i * kVocabulary,
                                 logits.begin() + (i + 1) * kVocabulary),
              model_.logits_after(prompts[i]));
  }
}

TEST(DefaultKvDtype, IsExactWhereArithmeticIs) {
  FakeBackend backend;
  const FakeModel model(10);
  EXPECT_EQ(default_kv_form(model, backend).dtype, DType::kF16);
  backend.compute_ = Compute::kExact;
  EXPECT_EQ(default_kv_form(model, backend).dtype, DType::kF32);
}

}  // namespace
}  // namespace hlwq
