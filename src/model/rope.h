#pragma once
// The angles of rotary positions (docs/math.md#rotary-positions).

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace hlwq {

// Angle a position adds to pair i of a head, i < head_dim / 2.
[[nodiscard]] std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t head_dim);

// The table of RotaryArgs for positions [0, positions): [positions, head_dim]. Angles, cosines and
// sines are FP64, rounded once, so that far positions are as exact as near ones.
[[nodiscard]] std::vector<float> rope_table(const RopeConfig& rope, int64_t head_dim,
                                            int64_t positions);

}  // namespace hlwq
