#include "base/log.h"

#include <mutex>
#include <utility>

namespace hlwq {
namespace {

struct SinkHolder {
  std::mutex mutex;
  LogSink sink;
  int quiet = 0;  // QuietLogs that live
};

SinkHolder& holder() {
  static SinkHolder instance;
  return instance;
}

}  // namespace

void set_log_sink(LogSink sink) {
  SinkHolder& h = holder();
  const std::lock_guard lock(h.mutex);
  h.sink = std::move(sink);
}

void log(LogLevel level, std::string_view line) {
  SinkHolder& h = holder();
  const std::lock_guard lock(h.mutex);
  if (h.sink && (h.quiet == 0 || level >= LogLevel::kWarning)) h.sink(level, line);
}

QuietLog::QuietLog() {
  SinkHolder& h = holder();
  const std::lock_guard lock(h.mutex);
  ++h.quiet;
}

QuietLog::~QuietLog() {
  SinkHolder& h = holder();
  const std::lock_guard lock(h.mutex);
  --h.quiet;
}

}  // namespace hlwq
