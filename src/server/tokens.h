#pragma once
// POST /tokenize and /detokenize.

#include <httplib.h>

#include "server/context.h"
#include "server/fields.h"

namespace hlwq::server {

// {"prompt" or "content": text, "add_special_tokens": true} or {"messages": [...]}: {"tokens",
// "count", "max_model_len"}; with "return_token_strs" also "token_strs".
void answer_tokenize(Context& context, const OrderedJson& body, httplib::Response& response);
// {"tokens": [...], "skip_special_tokens": false}: {"prompt"}.
void answer_detokenize(Context& context, const OrderedJson& body, httplib::Response& response);

}  // namespace hlwq::server
