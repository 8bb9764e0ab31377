#pragma once
// The library never prints. It hands lines to one sink that the program (or Python) installs;
// without a sink they are dropped.

#include <functional>
#include <string_view>

namespace hlwq {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogSink = std::function<void(LogLevel, std::string_view line)>;

// Replaces the sink; an empty one drops everything. Safe from any thread. The sink is called under
// a lock, one line at a time, and must not log itself.
void set_log_sink(LogSink sink);

void log(LogLevel level, std::string_view line);

// While one lives, lines below kWarning are dropped, of every thread.
class QuietLog {
 public:
  QuietLog();
  ~QuietLog();
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;
};

}  // namespace hlwq
