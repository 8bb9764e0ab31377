#pragma once

#include <memory>

#include "server/answers.h"
#include "server/chat_request.h"
#include "server/context.h"
#include "text/reply/reply_parser.h"

namespace hlwq::server {

// A chat that was handed to the engine: its answers on their way, and how to read them.
struct AskedChat {
  std::shared_ptr<Answers> answers;
  ReplyOptions reading;
  int64_t prompt_tokens = 0;
};

// Renders the prompt and submits it. Errors: kInvalidArgument (what the template refuses, a prompt
// longer than the context), kUnsupported (tools for a template without them), and as
// Service::submit.
[[nodiscard]] Result<AskedChat> ask_chat(Context& context, const ChatAsk& ask);

}  // namespace hlwq::server
