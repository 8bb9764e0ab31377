#include "serving.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "base/log.h"
#include "command.h"
#include "io/file.h"
#include "progress.h"

namespace hlwq::cli {
namespace {

int signal_pipe[2] = {-1, -1};

// Writes what it can: a full pipe holds enough signals already.
void on_signal(int) {
  const int saved = errno;
  const char byte = 's';
  static_cast<void>(!write(signal_pipe[1], &byte, 1));
  errno = saved;
}

// Hands signals on to the server, on a thread of its own, while it lives.
class SignalWatch {
 public:
  explicit SignalWatch(server::Server& server) {
    if (pipe(signal_pipe) != 0) return;
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, &interrupt_);
    sigaction(SIGTERM, &action, &terminate_);
    thread_ = std::thread([&server] {
      for (char byte; read(signal_pipe[0], &byte, 1) == 1 && byte == 's';) {
        log(LogLevel::kInfo, "stopping: answers may end, a second signal cuts them");
        server.stop();
      }
    });
  }
  ~SignalWatch() {
    if (!thread_.joinable()) return;
    sigaction(SIGINT, &interrupt_, nullptr);
    sigaction(SIGTERM, &terminate_, nullptr);
    const char end = 'e';
    static_cast<void>(!write(signal_pipe[1], &end, 1));
    thread_.join();
    close(signal_pipe[0]);
    close(signal_pipe[1]);
  }
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  struct sigaction interrupt_ = {}, terminate_ = {};
  std::thread thread_;
};

}  // namespace

int serve(server::Server& server, Service service, const std::string& port_file) {
  const SignalWatch watch(server);
  log(LogLevel::kInfo, fmt::format("listening on {}", server.url()));
  if (!port_file.empty()) {
    const Status written = write_file(port_file, std::to_string(server.port()) + "\n");
    if (!written) return failed(written.error());
  }
  server.run(std::move(service));
  return kDone;
}

Result<Service> open_service(const std::string& model, const EngineOptions& engine,
                             const ServiceOptions& options) {
  Progress progress("loading", /*is_bytes=*/true);
  return Service::open(model, engine, options,
                       [&](uint64_t done, uint64_t total) { progress.update(done, total); });
}

}  // namespace hlwq::cli
