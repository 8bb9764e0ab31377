#include "quant/kv_codec.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/float16.h"
#include "quant/hadamard.h"

namespace hlwq {
namespace {

using Vector = std::array<float, kMostKvDim>;

// Neighbours are added, then neighbours of those sums, and so on: what a warp does with exchanges.
float tree_sum(Vector& terms, size_t n) {
  for (; n > 1; n /= 2)
    for (size_t i = 0; i < n / 2; ++i) terms[i] = terms[2 * i] + terms[2 * i + 1];
  return terms[0];
}

template <typename Term>
float sum_of(size_t n, Term&& term) {
  Vector terms;
  for (size_t i = 0; i < n; ++i) terms[i] = term(i);
  return tree_sum(terms, n);
}

template <int kBits>
uint16_t encode(const float* z, std::span<uint8_t> codes) {
  const size_t n = codes.size();
  float peak = 0;
  bool finite = true;
  for (size_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(z[i]);
    peak = std::max(peak, std::fabs(z[i]));
  }
  if (!finite || !(peak >= kKvTiny)) {
    std::fill(codes.begin(), codes.end(), uint8_t{1 << (kBits - 1)});
    return finite ? uint16_t{0} : f32_to_f16(std::numeric_limits<float>::quiet_NaN());
  }
  const auto try_scale = [&](float inverse) {
    Vector level;
    for (size_t i = 0; i < n; ++i) {
      const int code = kv_code<kBits>(z[i] * inverse);
      codes[i] = static_cast<uint8_t>(code);
      level[i] = kv_half_level<kBits>(code);
    }
    return KvFit{sum_of(n, [&](size_t i) { return z[i] * level[i]; }),
                 sum_of(n, [&](size_t i) { return level[i] * level[i]; })};
  };
  const float squares = sum_of(n, [&](size_t i) { return z[i] * z[i]; });
  KvFit best;
  const float inverse =
      kv_search<kBits>(std::sqrt(squares / static_cast<float>(n)), peak, best, try_scale);
  try_scale(inverse);
  return f32_to_f16(kv_scale(best, std::sqrt(static_cast<float>(n))));
}

// The level of a table for x, as kv_code finds it.
uint8_t nearest(std::span<const float> levels, float x) {
  const size_t half = levels.size() / 2;
  size_t m = 0;
  while (m + 1 < half && std::fabs(x) > (levels[half + m] + levels[half + m + 1]) / 2) ++m;
  return static_cast<uint8_t>(x < 0 ? half - 1 - m : half + m);
}

}  // namespace

void rotate_kv(std::span<float> x) {
  HLWQ_CHECK(is_kv_dim(static_cast<int64_t>(x.size())));
  for (float& v : x) v = kv_limited(v);
  butterfly(x.data(), static_cast<int>(x.size()));
  const float inverse_root = 1.0f / std::sqrt(static_cast<float>(x.size()));
  for (float& v : x) v *= inverse_root;
}

uint16_t encode_kv(int bits, std::span<const float> v, std::span<uint8_t> codes) {
  HLWQ_CHECK(is_kv_code(bits) && is_kv_dim(static_cast<int64_t>(v.size())));
  HLWQ_CHECK(codes.size() == v.size());
  Vector z;
  std::transform(v.begin(), v.end(), z.begin(), kv_limited);
  butterfly(z.data(), static_cast<int>(v.size()));
  return with_kv_bits(bits, [&](auto width) { return encode<width>(z.data(), codes); });
}

float kv_level_of(int bits, int code) {
  return with_kv_bits(bits, [&](auto width) { return kv_level<width>(code); });
}

float encode_kv_with(std::span<const float> levels, NormRule rule, std::span<const float> v,
                     std::span<uint8_t> codes) {
  HLWQ_CHECK(is_kv_dim(static_cast<int64_t>(v.size())) && codes.size() == v.size());
  HLWQ_CHECK(rule == NormRule::kPlain || rule == NormRule::kLeastSquares);
  const size_t n = v.size();
  Vector z;
  std::copy(v.begin(), v.end(), z.begin());
  const float length =
      std::max(std::sqrt(sum_of(n, [&](size_t i) { return v[i] * v[i]; })), 1e-10f);
  butterfly(z.data(), static_cast<int>(n));
  for (size_t i = 0; i < n; ++i) {
    z[i] /= length;
    codes[i] = nearest(levels, z[i]);
  }
  if (rule == NormRule::kPlain) return length;
  const float zc = sum_of(n, [&](size_t i) { return z[i] * levels[codes[i]]; });
  const float cc = sum_of(n, [&](size_t i) { return levels[codes[i]] * levels[codes[i]]; });
  return length * (zc / cc);
}

void decode_kv_with(std::span<const float> levels, float length, std::span<const uint8_t> codes,
                    std::span<float> v) {
  HLWQ_CHECK(is_kv_dim(static_cast<int64_t>(v.size())) && codes.size() == v.size());
  for (size_t i = 0; i < v.size(); ++i) v[i] = levels[codes[i]];
  butterfly(v.data(), static_cast<int>(v.size()));
  for (float& x : v) x = length * (x / static_cast<float>(v.size()));
}

}  // namespace hlwq
