#pragma once

#include "server/chat_request.h"
#include "server/fields.h"

namespace hlwq::server {

// The body of /v1/responses as a chat: input items become messages, flat tools nested ones. Errors:
// kInvalidArgument, kUnsupported (previous_response_id, items and tools that are not text or
// functions), and as chat_ask.
[[nodiscard]] Result<ChatAsk> read_responses(const Fields& fields);

}  // namespace hlwq::server
