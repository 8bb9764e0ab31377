#include "runtime/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace hlwq {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// A beginning that two prompts share is kept from this length on.
constexpr int64_t kLeastShared = kPageTokens;

}  // namespace

struct Scheduler::Job {
  Job(std::vector<int32_t> prompt, GenerateSettings settings, int64_t vocabulary, OnEnd when_ended)
      : completion(std::move(prompt), std::move(settings), vocabulary),
        on_end(std::move(when_ended)) {}

  Completion completion;
  OnEnd on_end;
  int64_t slot = -1;  // -1: not begun, or ended
  int64_t pages = 0;  // that it was promised
  int64_t fed = 0;    // tokens
  int64_t cached = 0;
  std::vector<int64_t> anchors;    // still ahead, ascending
  std::vector<SnapshotPage> held;  // of its latest snapshot
  Clock::time_point came = Clock::now(), begun, first_token;
  int64_t decode_steps = 0;
  bool ended = false;

  [[nodiscard]] bool in_prompt() const { return fed < completion.prompt_tokens(); }
};

Result<Scheduler> Scheduler::create(Session& session, const SchedulerOptions& options) {
  if (options.sequences < 1 || options.sequences > session.options().sequences)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("scheduler: got {} sequences, wanted 1 to {}", options.sequences,
                            session.options().sequences));
  if (options.step_tokens < options.sequences)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("scheduler: steps of {} tokens do not hold {} sequences",
                            options.step_tokens, options.sequences));
  HLWQ_TRY_ASSIGN(Buffer logits, session.allocate_logits(options.sequences));
  return Scheduler(session, options, std::move(logits));
}

Scheduler::Scheduler(Session& session, const SchedulerOptions& options, Buffer logits)
    : session_(&session),
      options_(options),
      logits_memory_(std::move(logits)),
      logits_(dense(logits_memory_.as<float>().data(), options.sequences, session.vocabulary())),
      host_row_(static_cast<size_t>(session.vocabulary())),
      mask_(static_cast<size_t>((session.vocabulary() + 63) / 64)) {}

Scheduler::Scheduler(Scheduler&&) noexcept = default;

Scheduler::~Scheduler() {
  for (const auto& job : running_)
    if (job->slot >= 0) session_->close(job->slot);
}

Status Scheduler::submit(std::vector<int32_t> prompt, GenerateSettings settings, OnEnd on_end) {
  if (prompt.empty()) return fail(ErrorCode::kInvalidArgument, "the prompt has no tokens");
  const auto tokens = static_cast<int64_t>(prompt.size());
  if (tokens > session_->context())
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the prompt has {} tokens, the context holds {}: raise --context",
                            tokens, session_->context()));
  for (int64_t i = 0; i < tokens; ++i)
    if (const int32_t id = prompt[static_cast<size_t>(i)]; id < 0 || id >= session_->vocabulary())
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("token id {} at position {} is outside the vocabulary of {}", id, i,
                              session_->vocabulary()));
  waiting_.push_back(std::make_unique<Job>(std::move(prompt), std::move(settings),
                                           session_->vocabulary(), std::move(on_end)));
  return {};
}

bool Scheduler::step() {
  drop_cancelled();
  admit();
  if (running_.empty()) return false;
  plan_step();
  if (const Status ran = run_planned(); !ran) {
    // Whatever was on its way is lost: which sequences a step spoiled cannot be told apart.
    for (const auto& job : running_)
      if (!job->ended) end(*job, tl::unexpected(ran.error()));
  }
  sweep();
  return true;
}

void Scheduler::drop_cancelled() {
  for (Jobs* jobs : {&waiting_, &running_})
    for (const auto& job : *jobs)
      if (job->completion.cancelled()) end(*job, FinishReason::kCancelled);
  sweep();
}

int64_t Scheduler::pages_for(const Job& job) const {
  const int64_t left = session_->context() - job.completion.prompt_tokens();
  const int64_t tokens = job.completion.prompt_tokens() +
                         std::clamp<int64_t>(job.completion.settings().max_tokens, 0, left);
  return (tokens + kPageTokens - 1) / kPageTokens;
}

void Scheduler::admit() {
  while (!waiting_.empty() && static_cast<int64_t>(running_.size()) < options_.sequences) {
    const int64_t pages = pages_for(*waiting_.front());
    if (!running_.empty() && pages_promised_ + pages > session_->pool().pages()) return;
    auto slot = session_->open();
    if (!slot && !running_.empty()) return;  // others use the session too
    if (!slot) {
      end(*waiting_.front(), tl::unexpected(slot.error()));
      waiting_.pop_front();
      continue;
    }
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    Job& job = *running_.back();
    job.slot = *slot;
    job.pages = pages;
    pages_promised_ += pages;
    begin(job);
  }
}

// Takes what the prefix cache has, and decides what of the prompt it is to have.
void Scheduler::begin(Job& job) {
  job.begun = Clock::now();
  PrefixCache* const cache = options_.prefix_cache;
  if (cache == nullptr) return;
  const auto prompt = job.completion.ids();
  if (const Snapshot* const known = cache->find(prompt)) {
    if (const Status restored = session_->restore(job.slot, *known); !restored)
      return end(job, tl::unexpected(restored.error()));
    job.fed = job.cached = known->tokens;
    job.held = known->pages;
  }
  job.anchors = job.completion.settings().anchors;
  job.anchors.push_back(cache->common_prefix(prompt));
  std::sort(job.anchors.begin(), job.anchors.end());
  std::erase_if(job.anchors, [&](int64_t tokens) {
    return tokens < job.fed + kLeastShared || tokens >= job.completion.prompt_tokens() ||
           !cache->takes(tokens);
  });
}

void Scheduler::plan_step() {
  inputs_.clear();
  input_jobs_.clear();
  row_jobs_.clear();
  int64_t left = options_.step_tokens;
  const auto add = [&](Job& job, int64_t tokens) {
    const auto ids =
        job.completion.ids().subspan(static_cast<size_t>(job.fed), static_cast<size_t>(tokens));
    const bool is_last = job.fed + tokens >= job.completion.prompt_tokens();
    inputs_.push_back({.slot = job.slot, .ids = ids, .wants_logits = is_last});
    input_jobs_.push_back(&job);
    if (is_last) row_jobs_.push_back(&job);
    left -= tokens;
  };
  for (const auto& job : running_)
    if (!job->in_prompt()) add(*job, 1);
  // Answers wait for as much of prompts as a chunk has, no longer.
  const int64_t most = inputs_.empty() ? left : std::min(left, session_->options().prefill_chunk);
  left = most;
  size_t served = 0;
  for (const auto& job : running_) {
    if (left <= 0) break;
    ++served;
    if (!job->in_prompt()) continue;
    const int64_t end =
        job->anchors.empty() ? job->completion.prompt_tokens() : job->anchors.front();
    add(*job, std::min({end - job->fed, session_->options().prefill_chunk, left}));
  }
  // Who had a turn now is served last next time.
  if (served < running_.size())
    std::rotate(running_.begin(), running_.begin() + static_cast<std::ptrdiff_t>(served),
                running_.end());
}

Status Scheduler::run_planned() {
  if (inputs_.empty()) return {};
  const auto rows = static_cast<int64_t>(row_jobs_.size());
  MutF32View logits = logits_;
  logits.rows = rows;
  HLWQ_TRY(session_->issue(inputs_, rows > 0 ? LogitRows::kLast : LogitRows::kNone, logits));
  ++stats_.steps;
  bool keeps = false;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    Job& job = *input_jobs_[i];
    const auto tokens = static_cast<int64_t>(inputs_[i].ids.size());
    if (job.in_prompt()) {
      stats_.prompt_tokens += tokens;
    } else {
      ++job.decode_steps;
    }
    job.fed += tokens;
    keeps = keeps || (!job.anchors.empty() && job.fed == job.anchors.front());
  }
  if (rows > 0) {
    HLWQ_TRY(sample_rows());
  } else if (keeps) {
    HLWQ_TRY(session_->check());
  }
  for (Job* const job : input_jobs_) {
    if (job->anchors.empty() || job->fed != job->anchors.front()) continue;
    job->anchors.erase(job->anchors.begin());
    keep_prefix(*job);
  }
  for (size_t row = 0; row < row_jobs_.size(); ++row) deliver(*row_jobs_[row], row);
  return {};
}

// Draws a token for each row, and waits for the device once where nobody looks at logits.
Status Scheduler::sample_rows() {
  const size_t count = row_jobs_.size();
  rows_.clear();
  logprobs_.resize(count);
  drawn_.assign(count, -1);
  MutF32View logits = logits_;
  logits.rows = static_cast<int64_t>(count);
  for (size_t row = 0; row < count; ++row) {
    Completion& completion = row_jobs_[row]->completion;
    rows_.push_back(completion.next_row());
    if (!completion.settings().edits.any()) continue;
    session_->read_logits(logits, static_cast<int64_t>(row), host_row_);
    completion.edit(host_row_);
    session_->write_logits(logits, static_cast<int64_t>(row), host_row_);
  }
  // A row that nothing can be drawn from concerns its own request alone: its id stays -1.
  const Status sampled = session_->sample(logits, rows_, drawn_);
  if (!sampled && sampled.error().code != ErrorCode::kBadValue) return sampled;
  HLWQ_TRY(session_->check());
  for (size_t row = 0; row < count; ++row) {
    const GenerateSettings& settings = row_jobs_[row]->completion.settings();
    if (drawn_[row] < 0) continue;
    const bool refused =
        settings.constraint != nullptr && !settings.constraint->allows(drawn_[row]);
    if (!refused && settings.logprobs < 0) continue;
    session_->read_logits(logits, static_cast<int64_t>(row), host_row_);
    if (refused) HLWQ_TRY(draw_again(row));
    if (settings.logprobs >= 0 && drawn_[row] >= 0)
      logprobs_[row] = token_logprobs(host_row_, drawn_[row], settings.logprobs);
  }
  return {};
}

// From the row in host_row_, among the tokens that the request's constraint allows. A free draw
// that the constraint takes is kept, so that what is drawn has the same distribution as if all rows
// were masked.
Status Scheduler::draw_again(size_t row) {
  std::fill(mask_.begin(), mask_.end(), 0);
  row_jobs_[row]->completion.settings().constraint->allowed(mask_);
  masked_row_ = host_row_;
  apply_mask(mask_, masked_row_);
  MutF32View logits = logits_;
  logits.data = logits_.row(static_cast<int64_t>(row));
  logits.rows = 1;
  session_->write_logits(logits, 0, masked_row_);
  const Status sampled = session_->sample(logits, {&rows_[row], 1}, {&drawn_[row], 1});
  return sampled || sampled.error().code == ErrorCode::kBadValue ? Status{} : sampled;
}

void Scheduler::deliver(Job& job, size_t row) {
  Completion& completion = job.completion;
  if (job.fed == completion.prompt_tokens()) job.first_token = Clock::now();
  if (completion.settings().max_tokens <= 0) return end(job, FinishReason::kLength);
  if (drawn_[row] < 0)
    return end(job, fail(ErrorCode::kBadValue,
                         fmt::format("position {}: none of {} logits is above minus infinity",
                                     job.fed, session_->vocabulary())));
  ++stats_.generated_tokens;
  const bool has_logprobs = completion.settings().logprobs >= 0;
  const auto reason = completion.append(drawn_[row], has_logprobs ? &logprobs_[row] : nullptr);
  if (!reason) return end(job, tl::unexpected(reason.error()));
  if (*reason) return end(job, **reason);
  if (job.fed == session_->context()) end(job, FinishReason::kContext);
}

void Scheduler::keep_prefix(Job& job) {
  if (options_.prefix_cache == nullptr || job.fed < kLeastShared) return;
  options_.prefix_cache->keep(*session_, job.slot,
                              job.completion.ids().first(static_cast<size_t>(job.fed)), job.held);
}

void Scheduler::end(Job& job, FinishReason reason) {
  // What the next turn of a conversation begins with.
  if (job.slot >= 0 && !job.in_prompt()) keep_prefix(job);
  Generated out = job.completion.finish(reason);
  const Clock::time_point now = Clock::now();
  const bool has_begun = job.begun != Clock::time_point();
  const bool has_answered = job.first_token != Clock::time_point();
  out.cached_tokens = job.cached;
  out.wait_seconds = seconds_between(job.came, has_begun ? job.begun : now);
  if (has_begun)
    out.prompt_seconds = seconds_between(job.begun, has_answered ? job.first_token : now);
  out.decode_steps = job.decode_steps;
  if (job.decode_steps > 0) out.decode_seconds = seconds_between(job.first_token, now);
  end(job, Result<Generated>(std::move(out)));
}

void Scheduler::end(Job& job, Result<Generated> result) {
  if (job.slot >= 0) {
    session_->close(std::exchange(job.slot, -1));
    pages_promised_ -= job.pages;
  }
  job.held.clear();
  job.ended = true;
  ++(result ? stats_.finished : stats_.failed);
  job.on_end(std::move(result));
}

void Scheduler::sweep() {
  for (Jobs* jobs : {&waiting_, &running_})
    std::erase_if(*jobs, [](const auto& job) { return job->ended; });
}

void Scheduler::fail_all(const Error& error) {
  for (Jobs* jobs : {&waiting_, &running_})
    for (const auto& job : *jobs)
      if (!job->ended) end(*job, tl::unexpected(error));
  sweep();
}

SchedulerStats Scheduler::stats() const {
  SchedulerStats stats = stats_;
  stats.waiting = static_cast<int64_t>(waiting_.size());
  stats.running = static_cast<int64_t>(running_.size());
  return stats;
}

}  // namespace hlwq
