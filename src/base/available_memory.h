#pragma once

#include <cstdint>
#include <string>

namespace hlwq {

// Bytes of memory this process may still take without swapping, caches counted as free: what the
// system says, or less where a control group limits it. 0: the system does not say. `root` is
// where /proc and /sys are (tests).
[[nodiscard]] int64_t available_memory_bytes(const std::string& root = "");

}  // namespace hlwq
