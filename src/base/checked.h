#pragma once
// Arithmetic on numbers that came from outside: every product and sum says whether it fits.

#include <cstdint>
#include <optional>
#include <span>

namespace hlwq {

[[nodiscard]] inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

[[nodiscard]] inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

// Product of all factors; 1 for none. A zero factor gives 0 even when others would overflow only
// after it, so a caller that must see the overflow of the rest checks them first.
[[nodiscard]] inline std::optional<uint64_t> checked_product(std::span<const int64_t> factors) {
  uint64_t product = 1;
  for (const int64_t f : factors) {
    if (f < 0 || __builtin_mul_overflow(product, static_cast<uint64_t>(f), &product))
      return std::nullopt;
  }
  return product;
}

// Smallest multiple of `multiple` that is >= value. Both >= 0, multiple > 0, no overflow check:
// for our own numbers.
[[nodiscard]] constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace hlwq
