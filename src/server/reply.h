#pragma once
// One choice of a chat's answer: its text taken apart into reasoning, content and tool calls.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/answers.h"
#include "server/fields.h"
#include "text/reply/reply_parser.h"

namespace hlwq::server {

struct ToolCall {
  std::string id, name, arguments;
  bool is_whole = false;
};

// Gathers what events add. `take_in` returns what is new.
class Reply {
 public:
  explicit Reply(ReplyOptions options) : parser_(std::move(options)) {}

  [[nodiscard]] std::vector<ReplyEvent> take_in(const AnswerEvent& event);

  [[nodiscard]] const std::string& reasoning() const { return reasoning_; }
  [[nodiscard]] const std::string& content() const { return content_; }
  [[nodiscard]] const std::vector<ToolCall>& calls() const { return calls_; }
  // Tokens up to the end of the reasoning.
  [[nodiscard]] int64_t reasoning_tokens() const { return reasoning_tokens_; }
  // Once it has ended: "stop", "length" or "tool_calls".
  [[nodiscard]] std::string finish_reason() const;
  [[nodiscard]] const GenerateResult& result() const { return *result_; }
  [[nodiscard]] bool ended() const { return result_.has_value(); }

 private:
  ReplyParser parser_;
  std::string reasoning_, content_;
  std::vector<ToolCall> calls_;
  std::optional<GenerateResult> result_;
  int64_t reasoning_tokens_ = 0;
};

// `prefix` and 24 random letters and digits.
[[nodiscard]] std::string random_id(std::string_view prefix);

// finish_reason of OpenAI for one of ours.
[[nodiscard]] std::string openai_reason(const std::string& reason);

}  // namespace hlwq::server
