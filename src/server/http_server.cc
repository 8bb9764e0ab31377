#include "server/http_server.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "server/api_error.h"
#include "server/request_head.h"

namespace hlwq::server {
namespace {

constexpr int kBacklog = 1024;
constexpr size_t kRequestsOfAConnection = 1000;

thread_local Connection* current_connection = nullptr;
thread_local bool is_refusing = false;  // the accepting thread, when all others are at work

constexpr std::string_view kRefusal =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    "Connection: close\r\nContent-Length: 99\r\n\r\n"
    R"({"error":{"message":"too many connections","type":"server_error","param":null,"code":"overloaded"}})";

std::string tls_reason() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  return text;
}

}  // namespace

// The library's queue of connections to serve.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  ConnectionThreads(HttpServer& server, int64_t most) : server_(server), most_(most) {}

  void enqueue(std::function<void()> serve) override {
    {
      std::unique_lock lock(mutex_);
      bool takes = idle_ > static_cast<int64_t>(waiting_.size());
      if (!takes && static_cast<int64_t>(threads_.size()) < most_) {
        threads_.emplace_back([this] { work(); });
        ++idle_;
        takes = true;
      }
      // Not more wait than connections were told to go.
      if (takes ||
          (static_cast<int64_t>(waiting_.size()) < most_ && server_.interrupt_oldest_idle())) {
        waiting_.push_back(std::move(serve));
        arrived_.notify_one();
        return;
      }
    }
    is_refusing = true;
    serve();
    is_refusing = false;
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    arrived_.notify_all();
    while (server_.interrupt_oldest_idle()) {
    }
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      arrived_.wait(lock, [&] { return closing_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::function<void()> serve = std::move(waiting_.front());
      waiting_.pop_front();
      --idle_;
      lock.unlock();
      serve();
      lock.lock();
      ++idle_;
    }
  }

  HttpServer& server_;
  int64_t most_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> waiting_;
  std::vector<std::thread> threads_;
  int64_t idle_ = 0;
  bool closing_ = false;
};

HttpServer::HttpServer(const HttpLimits& limits) : limits_(limits) {
  new_task_queue = [this] { return new ConnectionThreads(*this, limits_.connections); };
}

HttpServer::~HttpServer() = default;

Status HttpServer::use_tls(const std::string& certificate, const std::string& key) {
  tls_.reset(SSL_CTX_new(TLS_server_method()));
  if (tls_ == nullptr) return fail(ErrorCode::kInternal, "TLS: " + tls_reason());
  SSL_CTX_set_min_proto_version(tls_.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(tls_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(tls_.get(), certificate.c_str()) != 1)
    return fail(ErrorCode::kIo,
                fmt::format("{}: not a certificate: {}", certificate, tls_reason()));
  if (SSL_CTX_use_PrivateKey_file(tls_.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(tls_.get()) != 1)
    return fail(ErrorCode::kIo,
                fmt::format("{}: not the key of the certificate: {}", key, tls_reason()));
  return {};
}

Result<int> HttpServer::bind(const std::string& host, int port) {
  const int bound = port == 0 ? bind_to_any_port(host) : (bind_to_port(host, port) ? port : -1);
  if (bound < 0)
    return fail(ErrorCode::kIo,
                fmt::format("cannot listen on {} port {}: {}", host, port, std::strerror(errno)));
  ::listen(svr_sock_, kBacklog);  // the library's own is 5
  return bound;
}

Connection& HttpServer::current() { return *current_connection; }

int64_t HttpServer::connections() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(open_.size());
}

int64_t HttpServer::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

bool HttpServer::interrupt_oldest_idle() {
  const std::lock_guard lock(mutex_);
  const auto oldest = std::find_if(open_.begin(), open_.end(),
                                   [](const Connection* open) { return open->is_idle(); });
  if (oldest == open_.end()) return false;
  (*oldest)->interrupt();
  open_.erase(oldest);  // its own thread does not find it there any more
  return true;
}

void HttpServer::refuse(socket_t socket) {
  {
    const std::lock_guard lock(mutex_);
    ++refused_;
  }
  if (tls_ == nullptr) send(socket, kRefusal.data(), kRefusal.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(socket, SHUT_RDWR);
  ::close(socket);
}

bool HttpServer::process_and_close_socket(socket_t socket) {
  if (is_refusing) {
    refuse(socket);
    return false;
  }
  Connection connection(socket, limits_.connection, tls_.get());
  {
    const std::lock_guard lock(mutex_);
    open_.push_back(&connection);
  }
  current_connection = &connection;
  // The library negotiates compression and parts, which would hold pieces of a stream back.
  const auto prepare = [&](httplib::Request& request) {
    request.headers.erase("Accept-Encoding");
    request.ranges.clear();
    connection.begin_body();
  };
  if (connection.handshake()) {
    for (size_t left = kRequestsOfAConnection; left > 0; --left) {
      if (svr_sock_ == INVALID_SOCKET || !has_request(connection)) break;
      bool closes = false;
      if (!process_request(connection, left == 1 || svr_sock_ == INVALID_SOCKET, closes, prepare) ||
          closes || connection.closes_after_answer())
        break;
    }
  }
  current_connection = nullptr;
  const std::lock_guard lock(mutex_);
  std::erase(open_, &connection);
  return true;
}

bool HttpServer::has_request(Connection& connection) {
  const auto refuse_head = [&](int status, const char* reason, std::string_view message) {
    const std::string body = dump(error_json(status, message));
    const std::string answer = fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        "Content-Length: {}\r\n\r\n{}",
        status, reason, body.size(), body);
    connection.write(answer.data(), answer.size());
    connection.close_after_answer();
    return false;
  };
  switch (connection.wait_for_request()) {
    case Connection::Arrival::kNothing:
      return false;
    case Connection::Arrival::kTooSlow:
      return refuse_head(408, "Request Timeout", "the headers did not come in time");
    case Connection::Arrival::kTooLong:
      return refuse_head(431, "Request Header Fields Too Large", "the headers are too long");
    case Connection::Arrival::kRequest:
      break;
  }
  const std::string_view fault = fault_of_head(connection.head());
  return fault.empty() || refuse_head(400, "Bad Request", fault);
}

}  // namespace hlwq::server
