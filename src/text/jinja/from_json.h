#pragma once

#include "io/json.h"
#include "text/jinja/runtime.h"

namespace hlwq::jinja {

// All text and numbers in the value are marked as data. Errors: deeper or larger than the bounds.
[[nodiscard]] Result<Value> value_from_json(Runtime& runtime, const OrderedJson& json);

// The messages of a conversation. As value_from_json, except that <think> and </think> in what the
// assistant said count as the template's: a model writes them itself, and templates look for them.
[[nodiscard]] Result<Value> messages_from_json(Runtime& runtime, const OrderedJson& messages);

}  // namespace hlwq::jinja
