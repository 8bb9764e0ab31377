#pragma once
// One client's socket, plain or TLS, as the HTTP library wants to see it, with a deadline on
// everything: a client that sends or reads slowly, or not at all, is cut off.

#include <httplib.h>
#include <openssl/ssl.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace hlwq::server {

struct ConnectionLimits {
  std::chrono::milliseconds idle{5000};       // between requests
  std::chrono::milliseconds handshake{5000};  // of TLS
  std::chrono::milliseconds header{10000};    // a request's line and headers, all together
  std::chrono::milliseconds body{30000};      // and its body
  std::chrono::milliseconds write{30000};     // until the client takes a piece of an answer
  size_t header_bytes = size_t{64} << 10;
};

class Connection : public httplib::Stream {
 public:
  // Owns the socket. `tls`: null for plain text; else borrowed.
  Connection(socket_t socket, const ConnectionLimits& limits, SSL_CTX* tls);
  ~Connection() override;  // tells the client that no more comes, and waits a moment for it to read
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] bool handshake();  // true at once for plain text
  // Waits for a request and reads its line and headers.
  enum class Arrival { kRequest, kNothing, kTooSlow, kTooLong };
  [[nodiscard]] Arrival wait_for_request();
  // What has come, the empty line included; valid until the next read.
  [[nodiscard]] std::string_view head() const;
  // The request's headers are there: what is read now is its body.
  void begin_body();

  // Whether the client has closed its side.
  [[nodiscard]] bool peer_is_gone();
  void close_after_answer() { close_after_answer_ = true; }
  [[nodiscard]] bool closes_after_answer() const { return close_after_answer_; }

  // Whether it is between requests, or still sending the headers of one; from any thread.
  [[nodiscard]] bool is_idle() const { return idle_; }
  // Ends whatever it waits for; from any thread, while the object lives.
  void interrupt();

  // httplib::Stream
  bool is_readable() const override { return true; }
  bool is_writable() const override;
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  // Not the descriptor: the library refuses large ones, for select(), which this class never calls.
  socket_t socket() const override { return -1; }

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] bool wait_for(short events, Clock::time_point deadline) const;
  [[nodiscard]] ssize_t receive(char* to, size_t size, Clock::time_point deadline);
  [[nodiscard]] bool receive_more(Clock::time_point deadline);  // into input_

  socket_t socket_;
  ConnectionLimits limits_;
  std::unique_ptr<SSL, decltype(&SSL_free)> tls_{nullptr, SSL_free};
  Clock::time_point deadline_;  // of what is read now
  bool close_after_answer_ = false, broken_ = false;
  std::atomic<bool> idle_ = true;
  std::string input_;  // received and not read yet, from taken_ on
  size_t taken_ = 0, head_bytes_ = 0;
};

}  // namespace hlwq::server
