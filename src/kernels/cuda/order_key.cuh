#pragma once

#include <cmath>
#include <cstdint>

#include "base/float16.h"
#include "base/host_device.h"

namespace hlwq::cuda {

// Integers that order as the values do: NaN as minus infinity, -0 as 0. None is 0.
HLWQ_HD inline uint32_t order_key(float value) {
  if (!(value == value)) value = -HUGE_VALF;
  const uint32_t bits = f32_bits(value + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// The value of a key.
HLWQ_HD inline float value_of_key(uint32_t key) {
  return f32_from_bits((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

inline constexpr uint32_t kLowestKey = 0x007fffffu;  // of minus infinity

}  // namespace hlwq::cuda
