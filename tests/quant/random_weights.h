#pragma once
// Reproducible inputs.

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "base/random.h"

namespace hlwq {

// Normal values of the given spread (Box-Muller).
inline std::vector<float> normal_values(size_t count, double spread, uint64_t seed) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    const double radius = std::sqrt(-2 * std::log(random_uniform(seed, 2 * i)));
    const double angle = 2 * std::numbers::pi * random_uniform(seed, 2 * i + 1);
    values[i] = static_cast<float>(spread * radius * std::cos(angle));
  }
  return values;
}

inline std::vector<uint8_t> random_codes(size_t count, int bits, uint64_t seed) {
  std::vector<uint8_t> codes(count);
  for (size_t i = 0; i < count; ++i)
    codes[i] = static_cast<uint8_t>(random_bits(seed, i) >> (64 - bits));
  return codes;
}

}  // namespace hlwq
