#pragma once

#include <cstdint>
#include <random>

namespace hlwq {

// A seed for a request that names none. Seeds are shown as JSON numbers, which are exact to 2^53.
[[nodiscard]] inline int64_t draw_seed() {
  std::random_device device;
  const uint64_t bits = (static_cast<uint64_t>(device()) << 32) | device();
  return static_cast<int64_t>(bits >> 11);
}

}  // namespace hlwq
