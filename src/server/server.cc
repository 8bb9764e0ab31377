#include "server/server.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/units.h"
#include "server/http_server.h"
#include "server/routes.h"

namespace hlwq::server {
namespace {

std::string name_of_model(const ServerOptions& options, const std::string& path) {
  if (!options.model_name.empty()) return options.model_name;
  namespace fs = std::filesystem;
  const std::string name = fs::path(path).lexically_normal().filename().string();
  if (!name.empty() && name != ".") return name;
  // "folder/" or ".": the folder's own name.
  std::error_code ec;
  const std::string own = fs::canonical(path, ec).filename().string();
  return own.empty() ? "model" : own;
}

HttpLimits limits_of(const ServerOptions& options) {
  const auto seconds = [](int64_t count) { return std::chrono::seconds(count); };
  return {.connection = {.idle = seconds(options.idle_timeout),
                         .header = seconds(options.header_timeout),
                         .body = seconds(options.body_timeout),
                         .write = seconds(options.write_timeout)},
          .connections = options.max_connections};
}

}  // namespace

struct Server::Impl {
  Impl(ServerOptions opts, std::vector<std::string> keys, uint64_t max_body)
      : options(std::move(opts)),
        http(limits_of(options)),
        routes{.access = Access(std::move(keys), is_loopback(options.host)),
               .cors_origin = options.cors_origin,
               .max_body = max_body} {}

  // What borrows stands below what it borrows from.
  ServerOptions options;
  Metrics metrics;
  std::optional<Service> service;  // from run() on
  std::optional<Context> context;
  HttpServer http;
  RouteOptions routes;
  int port = 0;

  std::mutex mutex;
  std::condition_variable changed;
  int stops = 0;  // calls of stop()
  bool done = false;
};

Result<std::unique_ptr<Server>> Server::create(const ServerOptions& options) {
  std::vector<std::string> keys;
  if (!options.api_key_file.empty()) {
    HLWQ_TRY_ASSIGN(keys, read_keys(options.api_key_file));
  }
  if (keys.empty() && !is_loopback(options.host))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--host {}: others could use the server; give it keys "
                            "(--api-key-file), or listen on 127.0.0.1",
                            options.host));
  if (options.tls_cert.empty() != options.tls_key.empty())
    return fail(ErrorCode::kInvalidArgument, "--tls-cert and --tls-key go together");
  HLWQ_TRY_ASSIGN(const int64_t max_body, parse_bytes(options.max_body));
  auto impl = std::make_unique<Impl>(options, std::move(keys), static_cast<uint64_t>(max_body));
  if (!options.tls_cert.empty()) HLWQ_TRY(impl->http.use_tls(options.tls_cert, options.tls_key));
  impl->http.set_keep_alive_timeout(options.idle_timeout);
  HLWQ_TRY_ASSIGN(impl->port, impl->http.bind(options.host, static_cast<int>(options.port)));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

int Server::port() const { return impl_->port; }

std::string Server::url() const {
  const std::string& host = impl_->options.host;
  const bool is_v6 = host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", impl_->options.tls_cert.empty() ? "http" : "https",
                     is_v6 ? "[" + host + "]" : host, impl_->port);
}

void Server::run(Service service) {
  impl_->service.emplace(std::move(service));
  impl_->context.emplace(
      Context{.service = *impl_->service,
              .metrics = impl_->metrics,
              .http = &impl_->http,
              .model = name_of_model(impl_->options, impl_->service->engine().info().path),
              .created = static_cast<int64_t>(std::time(nullptr))});
  add_routes(impl_->http, *impl_->context, impl_->routes);
  // Cuts the answers when the drain time is over, or at once when stop() is called again.
  std::thread watch([this] {
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait(lock, [&] { return impl_->stops > 0 || impl_->done; });
    if (impl_->done) return;
    lock.unlock();
    impl_->service->drain(0);
    // The library does not stop before it has begun.
    while (!impl_->http.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    impl_->http.stop();
    lock.lock();
    impl_->changed.wait_for(lock, std::chrono::seconds(impl_->options.drain_timeout),
                            [&] { return impl_->stops > 1 || impl_->done; });
    if (impl_->done) return;
    log(LogLevel::kWarning, "answers are cut short");
    impl_->service->cancel_all();
  });
  impl_->http.listen_after_bind();
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->done = true;
  }
  impl_->changed.notify_all();
  watch.join();
}

void Server::stop() {
  {
    const std::lock_guard lock(impl_->mutex);
    ++impl_->stops;
  }
  impl_->changed.notify_all();
}

}  // namespace hlwq::server
