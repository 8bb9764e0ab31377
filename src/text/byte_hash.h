#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace hlwq {

// A 64-bit hash of short byte strings; the high bits are the good ones. Not for keeping: differs
// between byte orders.
inline uint64_t byte_hash(std::string_view bytes) {
  constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15ull;
  uint64_t hash = bytes.size();
  const auto mix = [&](size_t at, size_t count) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, count);
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
  };
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) mix(at, 8);
  if (at < bytes.size()) mix(at, bytes.size() - at);
  return hash * kMultiplier;
}

}  // namespace hlwq
