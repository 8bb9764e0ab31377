#pragma once
// From a row of logits to a token id, pinned: integers decide, so that every device draws the same
// token whatever the order of its sums.
//
//   l      logit after the repeat penalty (IEEE division or multiplication, each id once);
//          NaN counts as minus infinity
//   order  by falling l, equal ones by ascending id; the first is the most likely
//   mass   of id i: sampling_mass((l_i - l_first) * inverse_temperature), an integer, 2^40 for the
//          most likely and its equals; sums are exact in 64 bits for up to 2^23 ids
//   top-k  the first k of the order stay; top-p: of these the fewest, from the first on, whose
//          masses reach ceil(top_p * their sum); min-p: of these, masses >= ceil(min_p * 2^40).
//          The first always stays.
//   draw   target = floor(u * sum of what stays), u of random_bits(seed, position): the first of
//          what stays, by ascending id, where the running sum exceeds target
//   temperature 0: the first of the order
//
// Sources: repeat penalty Keskar et al. 2019 (CTRL); top-p Holtzman et al. 2020.

#include <cmath>
#include <cstdint>
#include <span>

#include "base/host_device.h"
#include "base/random.h"

namespace hlwq {

// One row's settings; `recent` holds distinct ids inside the vocabulary.
struct SampleRow {
  float inverse_temperature = 0;  // 0: greedy
  int32_t top_k = 0;              // 0: all
  float top_p = 1;                // 1: all
  float min_p = 0;
  float repeat_penalty = 1;
  uint64_t seed = 0;
  uint64_t position = 0;  // of the token to be drawn
  std::span<const int32_t> recent = {};
};

inline constexpr int kMassBits = 40;

// round(2^40 e^x) to 24 significant bits for x <= 0, by pinned operations: the same everywhere.
// x above 0 or NaN gives 0; below -28.5 the mass is 0.
HLWQ_HD inline uint64_t sampling_mass(float x) {
  if (!(x <= 0.0f) || x < -28.5f) return 0;
  // e^x = 2^n e^r with |r| <= ln(2) / 2; ln(2) in two parts, the first with trailing zeros.
  const float n = rintf(x * 1.44269502f);
  const float r = fmaf(-n, 1.42860677e-6f, fmaf(-n, 0.693145752f, x));
  float p = 1.98412698e-4f;  // Taylor; the first term left out is below 2^-26
  p = fmaf(p, r, 1.38888889e-3f);
  p = fmaf(p, r, 8.33333333e-3f);
  p = fmaf(p, r, 4.16666667e-2f);
  p = fmaf(p, r, 1.66666667e-1f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  const auto unshifted = static_cast<uint64_t>(p * 1099511627776.0f);  // exact: 24 bits times 2^k
  const int shift = -static_cast<int>(n);
  if (shift == 0) return unshifted;
  return (unshifted + (uint64_t{1} << (shift - 1))) >> shift;
}

// The helpers below are the rest of the rule, for every device.

// l of a raw logit that is not (penalty 1) or is among the recent ids.
HLWQ_HD inline float penalized_logit(float logit, float penalty) {
  if (!(logit == logit)) return -HUGE_VALF;
  return logit > 0.0f ? logit / penalty : logit * penalty;
}

// Mass of an id whose l is `logit`; `first` is the l of the most likely, above minus infinity.
HLWQ_HD inline uint64_t mass_of_logit(float logit, float first, float inverse_temperature) {
  if (logit == first) return uint64_t{1} << kMassBits;  // also when both are infinite
  return sampling_mass((logit - first) * inverse_temperature);
}

// The sum of masses that top-p wants at least, out of `total`.
HLWQ_HD inline uint64_t top_p_target(uint64_t total, float top_p) {
  const double target = ceil(static_cast<double>(top_p) * static_cast<double>(total));
  return target >= static_cast<double>(total) ? total : static_cast<uint64_t>(target);
}

// The least mass that min-p keeps.
HLWQ_HD inline uint64_t min_p_mass(float min_p) {
  return static_cast<uint64_t>(ceil(static_cast<double>(min_p) * 1099511627776.0));
}

// floor(u * kept) with u the top 53 of the 64 random bits, as a fraction.
HLWQ_HD inline uint64_t draw_target(uint64_t seed, uint64_t position, uint64_t kept) {
  const uint64_t u = random_bits(seed, position) & ~uint64_t{2047};
#if defined(__CUDA_ARCH__)
  return __umul64hi(u, kept);
#else
  return static_cast<uint64_t>((static_cast<unsigned __int128>(u) * kept) >> 64);
#endif
}

}  // namespace hlwq
