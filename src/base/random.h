#pragma once
// Counter-based random numbers: the value depends on (seed, counter) alone, so the same seed and
// position give the same token on every device and however work is split.

#include <cstdint>

#include "base/host_device.h"

namespace hlwq {

// SplitMix64 (Steele, Lea, Flood 2014), output number `counter` of the stream `seed`.
HLWQ_HD inline uint64_t random_bits(uint64_t seed, uint64_t counter) {
  uint64_t z = seed + (counter + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Uniform in the open interval (0, 1), 53 bits.
HLWQ_HD inline double random_uniform(uint64_t seed, uint64_t counter) {
  return (static_cast<double>(random_bits(seed, counter) >> 11) + 0.5) * 0x1p-53;
}

}  // namespace hlwq
