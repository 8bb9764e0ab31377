#pragma once

#include <cstdint>

namespace hlwq {

// Most memory this process has had resident so far, in bytes.
[[nodiscard]] int64_t peak_rss_bytes();

}  // namespace hlwq
