#include "runtime/scheduler.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "tests/runtime/fake_model.h"

namespace hlwq {
namespace {

constexpr int64_t kVocabulary = 50;

std::vector<int32_t> prompt_of(size_t n, uint64_t seed) {
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; ++i)
    ids[i] = static_cast<int32_t>(random_bits(seed, i) % static_cast<uint64_t>(kVocabulary));
  return ids;
}

std::vector<int32_t> joined(std::vector<int32_t> a, std::span<const int32_t> b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Only ids in a set; complete after so many.
class OnlySome : public TokenConstraint {
 public:
  OnlySome(std::vector<int32_t> ids, size_t most) : ids_(std::move(ids)), most_(most) {}
  bool allows(int32_t id) override { return std::find(ids_.begin(), ids_.end(), id) != ids_.end(); }
  void allowed(std::span<uint64_t> mask) override {
    ++masks_;
    for (const int32_t id : ids_) mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << (id % 64);
  }
  bool accept(int32_t id) override {
    EXPECT_TRUE(allows(id)) << id;
    return ++accepted_ != fail_after_;
  }
  bool is_complete() override { return accepted_ == most_; }

  std::vector<int32_t> ids_;
  size_t most_, accepted_ = 0, masks_ = 0, fail_after_ = 0;
};

class SchedulerTest : public testing::Test {
 protected:
  void start(SessionOptions options, int64_t step_tokens, size_t cache_bytes = 0,
             int64_t sequences = 0) {
    scheduler_.reset();
    cache_.reset();
    session_.reset();
    auto session = Session::create(backend_, model_, options);
    ASSERT_TRUE(session) << session.error().message;
    session_.emplace(std::move(*session));
    if (cache_bytes > 0) {
      auto cache = PrefixCache::create(*session_, backend_, cache_bytes);
      ASSERT_TRUE(cache) << cache.error().message;
      cache_.emplace(std::move(*cache));
    }
    auto made =
        Scheduler::create(*session_, {.sequences = sequences > 0 ? sequences : options.sequences,
                                      .step_tokens = step_tokens,
                                      .prefix_cache = cache_ ? &*cache_ : nullptr});
    ASSERT_TRUE(made) << made.error().message;
    scheduler_.emplace(std::move(*made));
    results_.clear();
  }
  void submit(int number, std::vector<int32_t> prompt, GenerateSettings settings) {
    const Status taken =
        scheduler_->submit(std::move(prompt), std::move(settings), [this, number](auto result) {
          EXPECT_TRUE(results_.emplace(number, std::move(result)).second) << "ended twice";
          order_.push_back(number);
        });
    ASSERT_TRUE(taken) << taken.error().message;
  }
  void run() {
    for (int steps = 0; scheduler_->step(); ++steps) ASSERT_LT(steps, 100000);
    EXPECT_EQ(session_->pool().open_sequences(), 0);
    EXPECT_EQ(session_->pool().free_pages(), session_->pool().pages());
  }
  const Generated& result(int number) {
    EXPECT_TRUE(results_.contains(number) && results_.at(number));
    return *results_.at(number);
  }
  Generated alone(const std::vector<int32_t>& prompt, GenerateSettings settings) {
    settings.on_piece = {};
    auto session = Session::create(backend_, model_, {.context = 400, .prefill_chunk = 512});
    auto out = generate(*session, prompt, settings);
    EXPECT_TRUE(out) << out.error().message;
    return *out;
  }

  FakeBackend backend_;
  FakeModel model_{kVocabulary};
  std::optional<Session> session_;
  std::optional<PrefixCache> cache_;
  std::optional<Scheduler> scheduler_;
  std::map<int, Result<Generated>> results_;
  std::vector<int> order_;
};

TEST_F(SchedulerTest, ACrowdGetsWhatEachGetsAlone) {
  for (const int64_t step_tokens : {5, 16, 64}) {
    SCOPED_TRACE(step_tokens);
    start({.sequences = 5, .context = 400, .prefill_chunk = 16}, step_tokens);
    std::map<int, std::vector<int32_t>> expected;
    for (int i = 0; i < 23; ++i) {
      const auto prompt = prompt_of(1 + random_bits(7, static_cast<uint64_t>(i)) % 90, 100 + i);
      const GenerateSettings settings = {
          .max_tokens = 1 + (i * 13) % 40,
          .sampler = {.temperature = i % 2 == 0 ? 0.0 : 0.9, .seed = static_cast<uint64_t>(i)},
          .stop_ids = {i % 5 == 0 ? 3 : -1}};
      expected[i] = alone(prompt, settings).ids;
      submit(i, prompt, settings);
    }
    model_.widest_step_ = 0;
    run();
    EXPECT_EQ(model_.widest_step_, step_tokens);
    for (int i = 0; i < 23; ++i) EXPECT_EQ(result(i).ids, expected[i]) << i;
  }
}

// Answers go on while a long prompt is read, and a short prompt does not wait for its end.
TEST_F(SchedulerTest, PromptsTakeTurnsAndAnswersGoOn) {
  start({.sequences = 3, .context = 2000, .prefill_chunk = 8}, 16);
  int64_t answered = 0, answered_at_long_start = -1;
  submit(0, prompt_of(4, 1), {.max_tokens = 150, .on_piece = [&](const Piece&) {
                                ++answered;
                                return true;
                              }});
  scheduler_->step();
  submit(1, prompt_of(800, 2), {.max_tokens = 1, .on_piece = [&](const Piece&) {
                                  answered_at_long_start = answered;
                                  return true;
                                }});
  submit(2, prompt_of(10, 3), {.max_tokens = 1});
  run();
  EXPECT_GE(answered_at_long_start, 90);
  EXPECT_EQ(order_, (std::vector<int>{2, 1, 0}));
}

TEST_F(SchedulerTest, ARequestBeginsOnlyWhenItsPagesAreSure) {
  // Four pages: one sequence of up to 256 tokens or several short ones.
  auto session = Session::create(backend_, model_,
                                 {.sequences = 4, .context = 256, .prefill_chunk = 64, .pages = 4});
  ASSERT_TRUE(session) << session.error().message;
  session_.emplace(std::move(*session));
  auto made = Scheduler::create(*session_, {.sequences = 4, .step_tokens = 64});
  ASSERT_TRUE(made);
  scheduler_.emplace(std::move(*made));
  for (int i = 0; i < 6; ++i)
    submit(i, prompt_of(60, static_cast<uint64_t>(i)), {.max_tokens = i % 2 == 0 ? 180 : 4});
  run();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(result(i).ids.size(), i % 2 == 0 ? 180u : 4u);
}

TEST_F(SchedulerTest, APrefixIsTakenUpWhereItWasKept) {
  start({.sequences = 2, .context = 400, .prefill_chunk = 32}, 64, 1 << 20);
  const std::vector<int32_t> prompt = prompt_of(150, 5);
  const GenerateSettings settings = {
      .max_tokens = 30, .sampler = {.temperature = 0}, .anchors = {140}};
  const Generated cold = alone(prompt, settings);
  submit(0, prompt, settings);
  run();
  EXPECT_EQ(result(0).ids, cold.ids);
  EXPECT_EQ(result(0).cached_tokens, 0);
  // The same prompt again: from the anchor on.
  submit(1, prompt, settings);
  run();
  EXPECT_EQ(result(1).ids, cold.ids);
  EXPECT_EQ(result(1).cached_tokens, 140);
  // The next turn: from the end of the answer, whose last token was not fed.
  const auto next = joined(joined(prompt, cold.ids), prompt_of(20, 6));
  submit(2, next, settings);
  run();
  EXPECT_EQ(result(2).ids, alone(next, settings).ids);
  EXPECT_EQ(result(2).cached_tokens, 179);
  // Another conversation with the same beginning of 100 tokens: seen once, kept, taken.
  const auto shared = joined({prompt.begin(), prompt.begin() + 100}, prompt_of(60, 7));
  const auto shared_too = joined({prompt.begin(), prompt.begin() + 100}, prompt_of(70, 8));
  submit(3, shared, settings);
  run();
  submit(4, shared_too, settings);
  run();
  EXPECT_EQ(result(3).cached_tokens, 0);
  EXPECT_EQ(result(4).cached_tokens, 100);
  EXPECT_EQ(result(3).ids, alone(shared, settings).ids);
  EXPECT_EQ(result(4).ids, alone(shared_too, settings).ids);
  EXPECT_GT(cache_->stats().tokens_reused, 140 + 179);
}

TEST_F(SchedulerTest, ASmallPrefixCacheForgetsAndStaysRight) {
  // Blocks are 16 KiB here: room for few snapshots.
  start({.sequences = 3, .context = 400, .prefill_chunk = 32}, 64, 10 * (16 << 10));
  for (int i = 0; i < 40; ++i) {
    const auto prompt = joined(prompt_of(70, static_cast<uint64_t>(i % 3)),
                               prompt_of(30, static_cast<uint64_t>(i)));
    const GenerateSettings settings = {.max_tokens = 10, .sampler = {.temperature = 0}};
    submit(i, prompt, settings);
    if (i % 4 == 3) run();
    const PrefixCacheStats stats = cache_->stats();
    EXPECT_LE(stats.bytes, stats.limit_bytes);
  }
  run();
  for (int i = 0; i < 40; ++i) {
    const auto prompt = joined(prompt_of(70, static_cast<uint64_t>(i % 3)),
                               prompt_of(30, static_cast<uint64_t>(i)));
    EXPECT_EQ(result(i).ids, alone(prompt, {.max_tokens = 10, .sampler = {.temperature = 0}}).ids);
  }
  EXPECT_GT(cache_->stats().hits, 0);
}

TEST_F(SchedulerTest, CancelledRequestsEndAndFreeTheirPlace) {
  start({.sequences = 1, .context = 400, .prefill_chunk = 8}, 8);
  std::atomic<bool> first = false, waiting = false, in_prompt = false;
  submit(0, prompt_of(8, 1), {.max_tokens = 100, .cancel = &first});
  submit(1, prompt_of(300, 2), {.max_tokens = 100, .cancel = &in_prompt});
  submit(2, prompt_of(8, 3), {.max_tokens = 100, .cancel = &waiting});
  submit(3, prompt_of(8, 4), {.max_tokens = 5});
  for (int i = 0; i < 5; ++i) scheduler_->step();
  waiting = true;
  scheduler_->step();
  EXPECT_TRUE(results_.contains(2));
  first = true;
  for (int i = 0; i < 5; ++i) scheduler_->step();
  EXPECT_EQ(result(0).reason, FinishReason::kCancelled);
  EXPECT_EQ(result(0).ids.size(), 6u);
  in_prompt = true;
  run();
  EXPECT_TRUE(result(1).ids.empty());
  EXPECT_EQ(result(3).ids.size(), 5u);
}

TEST_F(SchedulerTest, AStepThatFailsEndsItsRequestsAndOthersGoOn) {
  start({.sequences = 2, .context = 400, .prefill_chunk = 8}, 16);
  for (int i = 0; i < 4; ++i) submit(i, prompt_of(8, static_cast<uint64_t>(i)), {.max_tokens = 9});
  model_.fail_at_ = model_.forwards_ + 3;
  run();
  for (const int i : {0, 1}) {
    ASSERT_FALSE(results_.at(i));
    EXPECT_EQ(results_.at(i).error().code, ErrorCode::kBadValue);
  }
  for (const int i : {2, 3}) EXPECT_EQ(result(i).ids.size(), 9u);
  EXPECT_EQ(scheduler_->stats().failed, 2);
}

TEST_F(SchedulerTest, ConstraintsEditsAndLogprobsConcernTheirOwnRow) {
  start({.sequences = 4, .context = 400, .prefill_chunk = 16}, 32);
  const auto prompt = prompt_of(12, 9);
  OnlySome some({4, 17, 30}, 8);
  std::vector<TokenLogprobs> logprobs;
  const GenerateSettings plain = {.max_tokens = 20, .sampler = {.temperature = 0}};
  submit(0, prompt, plain);
  GenerateSettings constrained = plain;
  constrained.constraint = &some;
  submit(1, prompt, constrained);
  GenerateSettings biased = plain;
  biased.edits.bias = {{5, 1000.0f}, {77777, 3.0f}};
  submit(2, prompt, biased);
  GenerateSettings observed = plain;
  observed.logprobs = 3;
  observed.on_piece = [&](const Piece& piece) {
    if (piece.id >= 0) logprobs.push_back(*piece.logprobs);
    return true;
  };
  submit(3, prompt, observed);
  run();
  EXPECT_EQ(result(0).ids, alone(prompt, plain).ids);
  EXPECT_EQ(result(1).ids.size(), 8u);
  EXPECT_EQ(result(1).reason, FinishReason::kStop);
  EXPECT_GT(some.masks_, 0u);
  // The best of the allowed ones, each time.
  std::vector<int32_t> sequence = prompt;
  for (const int32_t id : result(1).ids) {
    const auto row = model_.logits_after(sequence);
    for (const int32_t other : some.ids_)
      EXPECT_LE(row[static_cast<size_t>(other)], row[static_cast<size_t>(id)]);
    sequence.push_back(id);
  }
  EXPECT_EQ(result(2).ids, std::vector<int32_t>(20, 5));
  EXPECT_EQ(result(3).ids, result(0).ids);
  ASSERT_EQ(logprobs.size(), 20u);
  sequence = prompt;
  for (size_t i = 0; i < 20; ++i) {
    const auto row = model_.logits_after(sequence);
    double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit));
    EXPECT_NEAR(logprobs[i].chosen.logprob,
                row[static_cast<size_t>(result(3).ids[i])] - std::log(sum), 1e-5);
    ASSERT_EQ(logprobs[i].top.size(), 3u);
    EXPECT_EQ(logprobs[i].top[0].id, result(3).ids[i]);  // greedy
    EXPECT_GE(logprobs[i].top[1].logprob, logprobs[i].top[2].logprob);
    sequence.push_back(result(3).ids[i]);
  }
}

TEST_F(SchedulerTest, PenaltiesCountWhatWasGenerated) {
  start({.sequences = 1, .context = 400}, 512);
  GenerateSettings settings = {.max_tokens = 40, .sampler = {.temperature = 0}};
  settings.edits.presence_penalty = 1000;  // no id twice
  submit(0, prompt_of(5, 1), settings);
  run();
  std::vector<int32_t> ids = result(0).ids;
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
}

TEST_F(SchedulerTest, AConstraintThatAllowsNothingFailsItsRequestAlone) {
  start({.sequences = 3, .context = 400}, 512);
  OnlySome none({}, 5), breaks({1, 2, 3}, 50);
  breaks.fail_after_ = 4;
  submit(0, prompt_of(5, 1), {.max_tokens = 5});
  submit(1, prompt_of(5, 2), {.max_tokens = 5, .constraint = &none});
  submit(2, prompt_of(5, 3), {.max_tokens = 50, .constraint = &breaks});
  run();
  EXPECT_EQ(result(0).ids.size(), 5u);
  ASSERT_FALSE(results_.at(1));
  EXPECT_EQ(results_.at(1).error().code, ErrorCode::kBadValue);
  ASSERT_FALSE(results_.at(2));
  EXPECT_NE(results_.at(2).error().message.find("grammar"), std::string::npos);
}

TEST_F(SchedulerTest, FailAllEndsEverything) {
  start({.sequences = 1, .context = 400, .prefill_chunk = 8}, 8);
  for (int i = 0; i < 3; ++i) submit(i, prompt_of(8, 1), {.max_tokens = 100});
  scheduler_->step();
  scheduler_->fail_all({ErrorCode::kInternal, "the device is gone"});
  EXPECT_EQ(results_.size(), 3u);
  for (const auto& [number, ended] : results_) EXPECT_FALSE(ended);
  EXPECT_FALSE(scheduler_->step());
  EXPECT_EQ(session_->pool().open_sequences(), 0);
}

TEST_F(SchedulerTest, RefusesWhatCannotBe) {
  start({.sequences = 2, .context = 16}, 512);
  const auto never = [](Result<Generated>) { FAIL(); };
  EXPECT_EQ(scheduler_->submit({}, {}, never).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(scheduler_->submit(prompt_of(17, 1), {}, never).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(scheduler_->submit({1, 2, 50}, {}, never).error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(Scheduler::create(*session_, {.sequences = 3, .step_tokens = 512}));
  EXPECT_FALSE(Scheduler::create(*session_, {.sequences = 2, .step_tokens = 1}));
  EXPECT_FALSE(scheduler_->step());
}

}  // namespace
}  // namespace hlwq
