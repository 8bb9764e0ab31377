#pragma once
// What is served under which path, and what a request must be before its body is read.

#include <cstdint>

#include "server/access.h"
#include "server/context.h"
#include "server/http_server.h"

namespace hlwq::server {

struct RouteOptions {
  Access access;
  std::string cors_origin;
  uint64_t max_body = 0;  // bytes
};

// `context` and `options` must outlive the server.
void add_routes(HttpServer& server, Context& context, const RouteOptions& options);

}  // namespace hlwq::server
