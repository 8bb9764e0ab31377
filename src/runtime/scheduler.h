#pragma once
// Many requests side by side on one session. Every step takes a token of each sequence that is
// answering and, with what is left, pieces of prompts, so that one pass over the weights and
// experts serves them all. Which requests share a step, where prompts are cut and what is taken
// from the prefix cache changes no bits, so an answer is the same alone and in a crowd.
//
// Requests begin in the order they came; prompts take turns. A request begins when a sequence is
// free and so many KV pages that its prompt and answer fit for certain: nothing that has begun is
// ever put back. One thread owns it.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/completion.h"
#include "runtime/generate.h"
#include "runtime/prefix_cache.h"
#include "runtime/session.h"

namespace hlwq {

struct SchedulerOptions {
  int64_t sequences = 1;                // side by side; as many as the session has, or fewer
  int64_t step_tokens = 512;            // most tokens of a step, at least `sequences`
  PrefixCache* prefix_cache = nullptr;  // null: none; it must outlive the scheduler
};

struct SchedulerStats {
  int64_t waiting = 0, running = 0;
  int64_t finished = 0, failed = 0;  // since the start; cancelled ones are finished
  int64_t prompt_tokens = 0;         // computed
  int64_t generated_tokens = 0;
  int64_t steps = 0;
};

class Scheduler {
 public:
  using OnEnd = std::function<void(Result<Generated>)>;

  // `session` must outlive it. Errors: kInvalidArgument (options), kOutOfMemory (logits).
  static Result<Scheduler> create(Session& session, const SchedulerOptions& options);

  Scheduler(Scheduler&&) noexcept;
  ~Scheduler();  // requests that have not ended are forgotten

  // Appends a request. `on_end` is called once, by a later step or by fail_all, and must not call
  // the scheduler. Errors: kInvalidArgument (an empty prompt, one longer than the context, ids
  // outside the vocabulary); on_end is then not called.
  [[nodiscard]] Status submit(std::vector<int32_t> prompt, GenerateSettings settings, OnEnd on_end);

  // One step; false when there was nothing to do. What goes wrong ends the requests it concerns.
  bool step();
  // Ends all requests with `error`.
  void fail_all(const Error& error);

  [[nodiscard]] SchedulerStats stats() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Job;
  using Jobs = std::deque<std::unique_ptr<Job>>;

  Scheduler(Session& session, const SchedulerOptions& options, Buffer logits);
  void drop_cancelled();
  void admit();
  void begin(Job& job);
  [[nodiscard]] int64_t pages_for(const Job& job) const;
  void plan_step();
  [[nodiscard]] Status run_planned();
  [[nodiscard]] Status sample_rows();
  [[nodiscard]] Status draw_again(size_t row);
  void deliver(Job& job, size_t row);
  void keep_prefix(Job& job);
  void end(Job& job, Result<Generated> result);
  void end(Job& job, FinishReason reason);
  void sweep();

  Session* session_;
  SchedulerOptions options_;
  Buffer logits_memory_;
  MutF32View logits_;
  Jobs waiting_, running_;
  int64_t pages_promised_ = 0;
  SchedulerStats stats_;

  // Of the current step.
  std::vector<SequenceInput> inputs_;
  std::vector<Job*> input_jobs_, row_jobs_;
  std::vector<SampleRow> rows_;
  std::vector<int32_t> drawn_;
  std::vector<TokenLogprobs> logprobs_;  // by row
  std::vector<float> host_row_, masked_row_;
  std::vector<uint64_t> mask_;
};

}  // namespace hlwq
