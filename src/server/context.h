#pragma once
// What every handler works with.

#include <cstdint>
#include <string>

#include "hlwq/service.h"
#include "server/http_server.h"
#include "server/metrics.h"

namespace hlwq::server {

struct Context {
  Service& service;
  Metrics& metrics;
  const HttpServer* http = nullptr;
  std::string model;    // its name in answers
  int64_t created = 0;  // seconds since 1970, when it was loaded
};

}  // namespace hlwq::server
