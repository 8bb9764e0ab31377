#pragma once
// The answers to one HTTP request on their way from the engine's thread to the one that writes
// them.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hlwq/service.h"
#include "server/metrics.h"

namespace hlwq::server {

struct TokenLogprobs {
  LogprobOf chosen;
  std::vector<LogprobOf> top;
};

struct AnswerEvent {
  int64_t choice = 0;
  std::string text = {};
  std::vector<int32_t> ids = {};                     // of the tokens since the event before
  std::optional<TokenLogprobs> logprobs = {};        // of the token that gave the text
  std::optional<Result<GenerateResult>> ended = {};  // the last event of the choice
};

class Answers {
 public:
  // Submits each of `requests` `choices` times; a given seed counts up. Choices are numbered
  // request by request. `every_token`: an event for each, even without text. Errors: as
  // Service::submit.
  static Result<std::shared_ptr<Answers>> ask(Service& service,
                                              std::span<const ServiceRequest> requests,
                                              int64_t choices, bool every_token, Metrics& metrics);
  ~Answers();  // cancels what is still there
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;

  // What has come, after waiting for something up to `wait`; empty then or when all is taken.
  [[nodiscard]] std::vector<AnswerEvent> take(std::chrono::milliseconds wait);
  [[nodiscard]] bool all_taken();  // every choice has ended, and that was taken

 private:
  struct Mailbox {
    std::mutex mutex;
    std::condition_variable filled;
    std::vector<AnswerEvent> events;
  };
  Answers() : mailbox_(std::make_shared<Mailbox>()) {}

  std::shared_ptr<Mailbox> mailbox_;  // the engine's thread may outlive this object
  std::vector<std::shared_ptr<ServiceTicket>> tickets_;
  int64_t ends_left_ = 0;
};

}  // namespace hlwq::server
