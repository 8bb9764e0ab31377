#include "server/connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace hlwq::server {
namespace {

using Clock = std::chrono::steady_clock;

// For how long, and up to how many bytes, a client that is still sending is listened to after the
// answer, so that it reads the answer before it sees the connection gone.
constexpr std::chrono::milliseconds kLinger{1000};
constexpr size_t kLingerBytes = size_t{16} << 20;

constexpr size_t kPiece = 16384;  // bytes of a read
constexpr std::string_view kHeadEnd = "\r\n\r\n";

void address_of(const sockaddr_storage& address, socklen_t length, std::string& ip, int& port) {
  char host[NI_MAXHOST], service[NI_MAXSERV];
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof(host), service,
                  sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return;
  ip = host;
  port = std::atoi(service);
}

}  // namespace

Connection::Connection(socket_t socket, const ConnectionLimits& limits, SSL_CTX* tls)
    : socket_(socket), limits_(limits) {
  fcntl(socket_, F_SETFL, fcntl(socket_, F_GETFL) | O_NONBLOCK);
  const int on = 1;  // pieces of an answer go out as they come
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (tls != nullptr) {
    tls_.reset(SSL_new(tls));
    broken_ = tls_ == nullptr || SSL_set_fd(tls_.get(), socket_) != 1;
  }
}

Connection::~Connection() {
  if (tls_ != nullptr && !broken_) SSL_shutdown(tls_.get());
  shutdown(socket_, SHUT_WR);
  if (close_after_answer_) {
    const Clock::time_point until = Clock::now() + kLinger;
    size_t heard = 0;
    std::array<char, kPiece> unread;
    while (heard < kLingerBytes && wait_for(POLLIN, until)) {
      const ssize_t got = recv(socket_, unread.data(), unread.size(), 0);
      if (got <= 0) break;
      heard += static_cast<size_t>(got);
    }
  }
  close(socket_);
}

bool Connection::wait_for(short events, Clock::time_point deadline) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    pollfd waited = {.fd = socket_, .events = events, .revents = 0};
    const int ready = poll(&waited, 1, static_cast<int>(std::min<int64_t>(left.count(), 1 << 30)));
    if (ready > 0) return true;  // also on errors, which the next call reports
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool Connection::handshake() {
  if (broken_) return false;
  if (tls_ == nullptr) return true;
  const Clock::time_point deadline = Clock::now() + limits_.handshake;
  for (;;) {
    ERR_clear_error();
    const int done = SSL_accept(tls_.get());
    if (done == 1) return true;
    const int why = SSL_get_error(tls_.get(), done);
    const short events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    if ((why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) ||
        !wait_for(events, deadline)) {
      broken_ = true;
      return false;
    }
  }
}

ssize_t Connection::receive(char* to, size_t size, Clock::time_point deadline) {
  for (;;) {
    if (broken_) return -1;
    short events = POLLIN;
    if (tls_ != nullptr) {
      ERR_clear_error();
      const int got = SSL_read(tls_.get(), to, static_cast<int>(std::min<size_t>(size, 1 << 30)));
      if (got > 0) return got;
      const int why = SSL_get_error(tls_.get(), got);
      if (why == SSL_ERROR_ZERO_RETURN) return 0;
      if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) break;
      if (why == SSL_ERROR_WANT_WRITE) events = POLLOUT;
    } else {
      const ssize_t got = recv(socket_, to, size, 0);
      if (got >= 0) return got;
      if (errno != EAGAIN && errno != EINTR) break;
    }
    if (!wait_for(events, deadline)) break;
  }
  broken_ = true;
  return -1;
}

bool Connection::receive_more(Clock::time_point deadline) {
  input_.erase(0, std::exchange(taken_, 0));
  const size_t before = input_.size();
  input_.resize(before + kPiece);
  const ssize_t got = receive(input_.data() + before, kPiece, deadline);
  input_.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  return got > 0;
}

Connection::Arrival Connection::wait_for_request() {
  idle_ = true;
  head_bytes_ = 0;
  if (taken_ == input_.size() && !receive_more(Clock::now() + limits_.idle))
    return Arrival::kNothing;
  deadline_ = Clock::now() + limits_.header;
  for (;;) {
    const std::string_view come = std::string_view(input_).substr(taken_);
    const size_t end = come.substr(0, limits_.header_bytes).find(kHeadEnd);
    if (end != std::string_view::npos) {
      head_bytes_ = end + kHeadEnd.size();
      return Arrival::kRequest;
    }
    if (come.size() >= limits_.header_bytes) return Arrival::kTooLong;
    if (receive_more(deadline_)) continue;
    return Clock::now() >= deadline_ ? Arrival::kTooSlow : Arrival::kNothing;
  }
}

std::string_view Connection::head() const {
  return std::string_view(input_).substr(taken_, head_bytes_);
}

void Connection::begin_body() {
  deadline_ = Clock::now() + limits_.body;
  idle_ = false;
}

ssize_t Connection::read(char* to, size_t size) {
  if (taken_ == input_.size() && !receive_more(deadline_)) return -1;
  const size_t given = std::min(size, input_.size() - taken_);
  std::memcpy(to, input_.data() + taken_, given);
  taken_ += given;
  return static_cast<ssize_t>(given);
}

ssize_t Connection::write(const char* from, size_t size) {
  const Clock::time_point deadline = Clock::now() + limits_.write;
  size_t sent = 0;
  while (sent < size) {
    if (broken_) return -1;
    short events = POLLOUT;
    if (tls_ != nullptr) {
      ERR_clear_error();
      const size_t piece = std::min<size_t>(size - sent, 1 << 30);
      const int put = SSL_write(tls_.get(), from + sent, static_cast<int>(piece));
      if (put > 0) {
        sent += static_cast<size_t>(put);
        continue;
      }
      const int why = SSL_get_error(tls_.get(), put);
      if (why == SSL_ERROR_WANT_READ) {
        events = POLLIN;
      } else if (why != SSL_ERROR_WANT_WRITE) {
        broken_ = true;
        return -1;
      }
    } else {
      const ssize_t put = send(socket_, from + sent, size - sent, MSG_NOSIGNAL);
      if (put >= 0) {
        sent += static_cast<size_t>(put);
        continue;
      }
      if (errno != EAGAIN && errno != EINTR) {
        broken_ = true;
        return -1;
      }
    }
    if (!wait_for(events, deadline)) {
      broken_ = true;
      return -1;
    }
  }
  return static_cast<ssize_t>(size);
}

bool Connection::peer_is_gone() {
  if (broken_) return true;
  char byte;
  const ssize_t got = recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

bool Connection::is_writable() const { return !broken_; }

void Connection::interrupt() { shutdown(socket_, SHUT_RDWR); }

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  if (getpeername(socket_, reinterpret_cast<sockaddr*>(&address), &length) == 0)
    address_of(address, length, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  if (getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) == 0)
    address_of(address, length, ip, port);
}

}  // namespace hlwq::server
