#pragma once
// Telling the two 5-bit streams apart when nothing in the file says which one was written.

#include <cstddef>
#include <span>

#include "quant/packing.h"

namespace hlwq {

// Mean log-likelihood, in nats a code, of a sample of packed codes read both ways. Codes of rotated
// weights follow the N(0,1) masses of their cells: about -3.12 for the right reading of the
// published table, -3.89 for the wrong one.
struct StreamLikelihood {
  double lsb = 0, msb = 0;
};

// `packed`: a positive multiple of 80 bytes (128 codes); `levels`: the 32 of the table in force.
[[nodiscard]] StreamLikelihood stream_likelihood(std::span<const std::byte> packed,
                                                 std::span<const float> levels);

// Readings closer than this are not told apart (docs/format.md#reading).
inline constexpr double kStreamGap = 0.2;

}  // namespace hlwq
