#pragma once
// A progress line on standard error, for terminals only.

#include <chrono>
#include <cstdint>
#include <string>

namespace hlwq::cli {

class Progress {
 public:
  // `what` says what goes on ("loading"); amounts are counts, or bytes when `is_bytes`.
  explicit Progress(std::string what, bool is_bytes = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Redraws the line, at most ten times a second. One thread at a time.
  void update(uint64_t done, uint64_t total);

 private:
  std::string what_;
  bool is_bytes_;
  bool shown_on_terminal_;
  std::chrono::steady_clock::time_point last_;
};

// Wipes the line, before anything else is printed.
void clear_progress();

}  // namespace hlwq::cli
