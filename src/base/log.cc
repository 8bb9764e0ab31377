#include "base/log.h"

#include <mutex>
#include <utility>

namespace hlwq {
namespace {

struct SinkHolder {
  std::mutex mutex;
  LogSink sink;
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
  if (h.sink) h.sink(level, line);
}

}  // namespace hlwq
