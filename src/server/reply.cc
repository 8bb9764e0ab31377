#include "server/reply.h"

#include <random>

namespace hlwq::server {

std::string random_id(std::string_view prefix) {
  static constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  thread_local std::mt19937_64 random{std::random_device()()};
  std::string id(prefix);
  for (int i = 0; i < 24; ++i) id += kLetters[random() % kLetters.size()];
  return id;
}

std::string openai_reason(const std::string& reason) {
  return reason == "context" || reason == "length" ? "length" : "stop";
}

std::vector<ReplyEvent> Reply::take_in(const AnswerEvent& event) {
  std::vector<ReplyEvent> events;
  if (event.ended) {
    events = parser_.finish();
    if (*event.ended) result_ = **event.ended;
  } else {
    events = parser_.push(event.text);
  }
  for (const ReplyEvent& each : events) {
    switch (each.kind) {
      case ReplyEvent::Kind::kReasoning:
        reasoning_ += each.text;
        break;
      case ReplyEvent::Kind::kContent:
        content_ += each.text;
        break;
      case ReplyEvent::Kind::kCallBegin:
        calls_.push_back({.id = random_id("call_"), .name = each.text, .arguments = {}});
        break;
      case ReplyEvent::Kind::kCallArguments:
        calls_.back().arguments += each.text;
        break;
      case ReplyEvent::Kind::kCallEnd:
        calls_.back().is_whole = true;
        break;
    }
  }
  if (!reasoning_.empty() && content_.empty() && calls_.empty())
    reasoning_tokens_ += static_cast<int64_t>(event.ids.size());
  return events;
}

std::string Reply::finish_reason() const {
  const std::string reason = openai_reason(result_->finish_reason);
  return reason == "stop" && !calls_.empty() && calls_.back().is_whole ? "tool_calls" : reason;
}

}  // namespace hlwq::server
