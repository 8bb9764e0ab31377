#pragma once
// What a client asks of a chat, in the words of the engine.

#include <optional>
#include <string>
#include <vector>

#include "hlwq/service.h"
#include "server/fields.h"
#include "server/request_settings.h"
#include "text/tool_format.h"

namespace hlwq::server {

inline constexpr size_t kMostMessages = 10000;
inline constexpr size_t kMostTools = 128;

struct ChatAsk {
  RequestSettings settings;
  ChatRequest prompt;           // messages as templates want them, tools unless none may be called
  OutputFormat format;          // but for after_reasoning
  std::vector<ToolSpec> tools;  // that may be called
};

// Messages as chat templates want them: content a string (text parts joined), arguments of tool
// calls an object where they are the text of one, "developer" turned into "system". Errors:
// kInvalidArgument naming the message, kUnsupported (images, audio, files).
[[nodiscard]] Result<OrderedJson> template_messages(const OrderedJson& messages);

// tools, tool_choice, parallel_tool_calls, response_format, chat_template_kwargs, reasoning_effort.
// `messages` as template_messages gives them. Errors: kInvalidArgument, kUnsupported.
[[nodiscard]] Result<ChatAsk> chat_ask(const Fields& fields, const OrderedJson& messages);

// The body of /v1/chat/completions. Errors: as both and read_settings.
[[nodiscard]] Result<ChatAsk> read_chat(const Fields& fields);

}  // namespace hlwq::server
