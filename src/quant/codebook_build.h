#pragma once
// The two codebooks of ours, uncached.

#include <vector>

#include "quant/codebook.h"

namespace hlwq {

// The Lloyd-Max fixed point for N(0,1), antisymmetric, to about 1e-13.
[[nodiscard]] std::vector<double> optimal_levels(int bits);

// The least Gaussian error among tables (v[k] + 1/2) * step with v in [-128, 127] antisymmetric and
// step of at most 16 significant bits. The level of a given step is found exactly; the step by
// scan.
[[nodiscard]] Levels grid_levels(int bits);

// The float with at most 16 significant bits nearest to x > 0.
[[nodiscard]] float round_to_16_bits(double x);

}  // namespace hlwq
