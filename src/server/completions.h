#pragma once
// POST /v1/completions: text that goes on, without a chat template.

#include <httplib.h>

#include "server/context.h"
#include "server/fields.h"

namespace hlwq::server {

inline constexpr size_t kMostPrompts = 64;

void answer_completion(Context& context, const OrderedJson& body, httplib::Response& response);

}  // namespace hlwq::server
