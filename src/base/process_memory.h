#pragma once

#include <cstdint>

namespace hlwq {

// Most memory this process has had resident so far, in bytes.
[[nodiscard]] int64_t peak_rss_bytes();
// What it has resident now; 0 when the system does not say.
[[nodiscard]] int64_t rss_bytes();

}  // namespace hlwq
