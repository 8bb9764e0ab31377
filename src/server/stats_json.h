#pragma once

#include "server/context.h"
#include "server/fields.h"

namespace hlwq::server {

// What the web chat's panel shows (docs/server.md#stats).
[[nodiscard]] OrderedJson stats_json(const Context& context);

}  // namespace hlwq::server
