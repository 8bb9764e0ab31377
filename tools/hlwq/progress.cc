#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>

#include "base/units.h"

namespace hlwq::cli {
namespace {

constexpr int kBarWidth = 30;

// Whether a line stands on the terminal. Log lines come from any thread.
std::atomic<bool> is_drawn = false;

}  // namespace

Progress::Progress(std::string what, bool is_bytes)
    : what_(std::move(what)), is_bytes_(is_bytes), shown_on_terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { clear_progress(); }

void Progress::update(uint64_t done, uint64_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (!shown_on_terminal_ || total == 0 || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  const int filled = static_cast<int>(kBarWidth * (static_cast<double>(done) / total));
  const std::string amounts =
      is_bytes_ ? fmt::format("{} of {}", format_bytes(static_cast<int64_t>(done)),
                              format_bytes(static_cast<int64_t>(total)))
                : fmt::format("{} of {}", done, total);
  fmt::print(stderr, "\r\x1b[K{} [{:<{}}] {}", what_,
             std::string(static_cast<size_t>(std::clamp(filled, 0, kBarWidth)), '#'), kBarWidth,
             amounts);
  std::fflush(stderr);
  is_drawn = true;
}

void clear_progress() {
  if (!is_drawn.exchange(false)) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

}  // namespace hlwq::cli
