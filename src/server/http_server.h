#pragma once
// The HTTP library's server, with limits of its own on connections, sizes and times.

#include <httplib.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "server/connection.h"

namespace hlwq::server {

struct HttpLimits {
  ConnectionLimits connection;
  int64_t connections = 512;  // at a time, each a thread
};

// A thread a connection, up to a limit. What comes beyond it takes the place of a connection that
// is between requests; when all are at work it is told so and closed.
class HttpServer : public httplib::Server {
 public:
  explicit HttpServer(const HttpLimits& limits);
  ~HttpServer() override;

  // PEM files. Errors: kIo, kInvalidArgument, with the library's reason.
  [[nodiscard]] Status use_tls(const std::string& certificate, const std::string& key);
  // Errors: kIo (the address, the port). Port 0: any; returns the port.
  [[nodiscard]] Result<int> bind(const std::string& host, int port);

  // The connection that the calling thread serves.
  [[nodiscard]] static Connection& current();

  [[nodiscard]] int64_t connections() const;
  [[nodiscard]] int64_t refused() const;

 private:
  friend class ConnectionThreads;
  bool process_and_close_socket(socket_t socket) override;
  void refuse(socket_t socket);
  // Waits for a request whose head is fine; answers one whose head is not.
  [[nodiscard]] static bool has_request(Connection& connection);
  bool interrupt_oldest_idle();

  HttpLimits limits_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> tls_{nullptr, SSL_CTX_free};
  mutable std::mutex mutex_;
  std::deque<Connection*> open_;  // in the order they came
  int64_t refused_ = 0;
};

}  // namespace hlwq::server
