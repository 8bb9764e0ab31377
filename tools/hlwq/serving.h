#pragma once

#include <string>

#include "hlwq/service.h"
#include "server/server.h"

namespace hlwq::cli {

// Serves until SIGINT or SIGTERM: then answers may end; a second signal cuts them. Says where it
// listens, and writes the port to `port_file` when one is named. Returns the exit code.
[[nodiscard]] int serve(server::Server& server, Service service, const std::string& port_file);

// A service with a progress line on terminals. Errors: as Service::open.
[[nodiscard]] Result<Service> open_service(const std::string& model, const EngineOptions& engine,
                                           const ServiceOptions& options);

}  // namespace hlwq::cli
