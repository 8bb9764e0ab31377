#pragma once
// How errors of codes chosen earlier move the weights chosen later, so that the error of the
// product, not of the weights, is least (GPTQ, QuIP's LDLQ; docs/math.md#calibrated-rounding).

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "calibrate/moments.h"

namespace hlwq {

struct FeedbackSettings {
  // Shares of the mean of the diagonal that are added to it: always, and times inputs per token, as
  // moments of few tokens say little about so many directions.
  double damping = 0.01, shrinkage = 1.0;
};

// H = (I + U) D (I + U)ᵀ with U strictly upper triangular and D diagonal, H the moments with blocks
// in the order in which they are chosen: those whose inputs are largest come last.
struct Feedback {
  int64_t cols = 0, blocks = 0;
  std::vector<int32_t> order;  // [blocks] the k-th block to be chosen
  std::vector<float> upper;    // [blocks*128, blocks*128] I + U
  std::vector<float> penalty;  // [blocks*128] D
};

// Errors: kBadValue (inputs that were not finite).
[[nodiscard]] Result<Feedback> make_feedback(const Moments& moments,
                                             const FeedbackSettings& settings);

}  // namespace hlwq
