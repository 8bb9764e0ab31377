#pragma once
// Vectors of keys and values to codes and back, on the host (docs/math.md#kv-cache). A vector's
// length n is a power of two in [kLeastKvDim, kMostKvDim].

#include <cstdint>
#include <span>
#include <type_traits>

#include "quant/encode.h"
#include "quant/kv_codes.h"

namespace hlwq {

[[nodiscard]] constexpr bool is_kv_dim(int64_t n) {
  return n >= kLeastKvDim && n <= kMostKvDim && (n & (n - 1)) == 0;
}

// fn(integral_constant<int, bits>) for the width; bits must be one of codes.
template <typename Fn>
decltype(auto) with_kv_bits(int bits, Fn&& fn) {
  if (bits == 2) return fn(std::integral_constant<int, 2>{});
  if (bits == 3) return fn(std::integral_constant<int, 3>{});
  if (bits == 4) return fn(std::integral_constant<int, 4>{});
  return fn(std::integral_constant<int, 8>{});
}

// x = H x, orthonormal: values are limited to FP16's range first.
void rotate_kv(std::span<float> x);

// Codes [n] and the scale's FP16 bits of H v. A vector with NaN gets NaN for its scale.
uint16_t encode_kv(int bits, std::span<const float> v, std::span<uint8_t> codes);
// (v + 1/2) / 64 of a code.
[[nodiscard]] float kv_level_of(int bits, int code);

// The published family of codecs: a table of levels for a normal variable's H v / |v| sqrt(n), and
// |v| or the least-squares length (NormRule::kPlain, kLeastSquares). The project's own codes are
// encode_kv; this one reads and writes what other implementations hold.
// Returns the length, unrounded. `levels` ascend and are antisymmetric.
float encode_kv_with(std::span<const float> levels, NormRule rule, std::span<const float> v,
                     std::span<uint8_t> codes);
// v = length * H(levels / sqrt(n)).
void decode_kv_with(std::span<const float> levels, float length, std::span<const uint8_t> codes,
                    std::span<float> v);

}  // namespace hlwq
