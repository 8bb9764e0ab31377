#pragma once
// Ctrl-C ends the work cleanly; a second one ends the program.

#include <atomic>

namespace hlwq::cli {

// Set by SIGINT and SIGTERM once this was called.
[[nodiscard]] const std::atomic<bool>* catch_interrupts();

}  // namespace hlwq::cli
