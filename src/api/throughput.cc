#include "api/throughput.h"

namespace hlwq {
namespace {

constexpr std::chrono::seconds kWindow{3};
constexpr std::chrono::milliseconds kApart{50};

}  // namespace

void Throughput::add(int64_t prompt_tokens, int64_t generated_tokens, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const Sample sample = {now, prompt_tokens, generated_tokens};
  // The last one stands for the time since the one before it.
  if (samples_.size() >= 2 && now - samples_[samples_.size() - 2].at < kApart) {
    samples_.back() = sample;
  } else {
    samples_.push_back(sample);
  }
  // One sample older than the window stays: what came since is what the window holds.
  while (samples_.size() > 2 && now - samples_[1].at > kWindow) samples_.pop_front();
}

Rates Throughput::rates(Clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  if (samples_.empty()) return {};
  const Sample& last = samples_.back();
  const Sample* first = &last;
  for (auto sample = samples_.rbegin(); sample != samples_.rend(); ++sample) {
    first = &*sample;
    if (now - sample->at >= kWindow) break;
  }
  const double seconds =
      std::chrono::duration<double>(now - std::max(first->at, now - Clock::duration(kWindow)))
          .count();
  if (seconds <= 0) return {};
  const auto rate = [&](int64_t from, int64_t to) {
    return static_cast<double>(to - from) / seconds;
  };
  return {.prompt_tok_s = rate(first->prompt_tokens, last.prompt_tokens),
          .decode_tok_s = rate(first->generated_tokens, last.generated_tokens)};
}

}  // namespace hlwq
