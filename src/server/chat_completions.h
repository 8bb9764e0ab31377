#pragma once
// POST /v1/chat/completions.

#include <httplib.h>

#include "server/context.h"
#include "server/fields.h"
#include "server/reply.h"

namespace hlwq::server {

void answer_chat(Context& context, const OrderedJson& body, httplib::Response& response);

// The token's text and bytes with its log probability, as OpenAI's "logprobs.content" has them.
[[nodiscard]] OrderedJson logprobs_json(const Engine& engine, const TokenLogprobs& logprobs);
[[nodiscard]] OrderedJson usage_json(int64_t prompt_tokens, int64_t cached_tokens,
                                     int64_t generated_tokens, int64_t reasoning_tokens = 0);

}  // namespace hlwq::server
