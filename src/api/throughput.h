#pragma once
// Tokens a second over the last seconds, from counters that only grow.

#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>

namespace hlwq {

struct Rates {
  double prompt_tok_s = 0, decode_tok_s = 0;
};

class Throughput {
 public:
  using Clock = std::chrono::steady_clock;

  // The counters as they stand at `now`.
  void add(int64_t prompt_tokens, int64_t generated_tokens, Clock::time_point now = Clock::now());
  // Over the time from the oldest sample that is no older than the window until `now`; safe from
  // any thread.
  [[nodiscard]] Rates rates(Clock::time_point now = Clock::now()) const;

 private:
  struct Sample {
    Clock::time_point at;
    int64_t prompt_tokens, generated_tokens;
  };
  mutable std::mutex mutex_;
  std::deque<Sample> samples_;
};

}  // namespace hlwq
