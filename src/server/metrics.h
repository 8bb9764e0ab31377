#pragma once
// What Prometheus reads from /metrics; names begin with hlwq_.

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <optional>
#include <string>

#include "hlwq/service.h"

namespace hlwq::server {

class Metrics {
 public:
  Metrics();

  void count_response(const std::string& route, int status);
  // The text of the exposition format, with gauges and totals as `stats` and the rest have them.
  [[nodiscard]] std::string text(const ServiceStats& stats, int64_t connections,
                                 int64_t connections_refused);

 private:
  friend class AnswerTiming;
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& responses_;
  prometheus::Histogram& queue_seconds_;
  prometheus::Histogram& first_token_seconds_;
  prometheus::Histogram& between_tokens_seconds_;
  prometheus::Histogram& request_seconds_;
  prometheus::Histogram& prompt_tokens_;
  prometheus::Histogram& generated_tokens_;
  prometheus::Family<prometheus::Counter>& ended_;
};

// Times of one answer; used on the engine's thread.
class AnswerTiming {
 public:
  explicit AnswerTiming(Metrics& metrics) : metrics_(metrics) {}
  void token();
  void end(const Result<GenerateResult>& result);

 private:
  using Clock = std::chrono::steady_clock;
  Metrics& metrics_;
  Clock::time_point asked_ = Clock::now();
  std::optional<Clock::time_point> latest_;
};

}  // namespace hlwq::server
