#pragma once
// `hlwq serve`: one process that an OpenAI client, a browser and Prometheus can use.

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "hlwq/options.h"
#include "hlwq/service.h"

namespace hlwq::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int64_t port = 8000;
  std::string api_key_file = {};
  std::string model_name = {};
  std::string tls_cert = {}, tls_key = {};
  std::string cors_origin = {};
  std::string max_body = "16MiB";
  int64_t max_connections = 512;
  int64_t header_timeout = 10, body_timeout = 30, write_timeout = 30, idle_timeout = 5;
  int64_t drain_timeout = 60;

  template <typename Visitor>
  void visit(Visitor&& v) {
    visit_fields(*this, v);
  }
  template <typename Visitor>
  void visit(Visitor&& v) const {
    visit_fields(*this, v);
  }

 private:
  template <typename Self, typename Visitor>
  static void visit_fields(Self& self, Visitor& v) {
    const auto seconds = [](const char* name, const char* help) {
      return OptionField{.name = name, .help = help, .least = 1, .most = 86400};
    };
    v(OptionField{.name = "host",
                  .help = "address to listen on; another than this machine's own wants keys"},
      self.host);
    v(OptionField{.name = "port", .help = "0: any that is free", .least = 0, .most = 65535},
      self.port);
    v(OptionField{.name = "api-key-file",
                  .help = "file with a key a line; every route but /health then wants one"},
      self.api_key_file);
    v(OptionField{.name = "model-name", .help = "name in answers; unset: the folder's"},
      self.model_name);
    v(OptionField{.name = "tls-cert", .help = "PEM file of the certificate chain: serve HTTPS"},
      self.tls_cert);
    v(OptionField{.name = "tls-key", .help = "PEM file of its key"}, self.tls_key);
    v(OptionField{.name = "cors-origin",
                  .help = "origin whose pages may use the server, or *; unset: none"},
      self.cors_origin);
    v(OptionField{.name = "max-body", .help = "most bytes of a request's body"}, self.max_body);
    v(OptionField{.name = "max-connections",
                  .help = "connections at a time; each is a thread",
                  .least = 1,
                  .most = 65536},
      self.max_connections);
    v(seconds("header-timeout", "seconds for a request's headers"), self.header_timeout);
    v(seconds("body-timeout", "seconds for its body"), self.body_timeout);
    v(seconds("write-timeout", "seconds until a client must take a piece of an answer"),
      self.write_timeout);
    v(seconds("idle-timeout", "seconds between requests of a connection"), self.idle_timeout);
    v(seconds("drain-timeout", "seconds that answers get to end after SIGTERM"),
      self.drain_timeout);
  }
};

class Server {
 public:
  // Checks the options (check_options has checked ranges) and takes the address, before a model is
  // loaded for nothing; who connects waits until run(). Errors: kInvalidArgument (an address that
  // is not this machine's own without keys, half of the TLS files), kIo (the address, a file).
  static Result<std::unique_ptr<Server>> create(const ServerOptions& options);
  ~Server();

  [[nodiscard]] std::string url() const;
  [[nodiscard]] int port() const;

  // Serves until stop(), and then until all answers have ended. Once.
  void run(Service service);
  // Takes no more connections and requests; answers get the drain time, then they are cut. Called
  // again, they are cut at once. Safe from any thread.
  void stop();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hlwq::server
