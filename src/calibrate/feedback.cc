#include "calibrate/feedback.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "calibrate/cholesky.h"

namespace hlwq {
namespace {

// Blocks by their share of the trace.
std::vector<int32_t> order_blocks(const Moments& moments) {
  const int64_t n = moments.padded(), blocks = n / kBlock;
  std::vector<double> trace(static_cast<size_t>(blocks));
  for (int64_t i = 0; i < n; ++i)
    trace[static_cast<size_t>(i / kBlock)] += moments.sums()[static_cast<size_t>(i * n + i)];
  std::vector<int32_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater(),
                           [&](int32_t block) { return trace[static_cast<size_t>(block)]; });
  return order;
}

}  // namespace

Result<Feedback> make_feedback(const Moments& moments, const FeedbackSettings& settings) {
  const int64_t n = moments.padded();
  Feedback feedback{.cols = moments.cols(),
                    .blocks = n / kBlock,
                    .order = order_blocks(moments),
                    .upper = std::vector<float>(static_cast<size_t>(n * n)),
                    .penalty = std::vector<float>(static_cast<size_t>(n))};
  const float* const sums = moments.sums().data();
  double trace = 0;
  for (int64_t i = 0; i < n; ++i) trace += sums[i * n + i];
  if (!std::isfinite(trace)) return fail(ErrorCode::kBadValue, "calibration inputs are not finite");
  // Real columns carry the trace; padding only adds zeros to its mean.
  const double mean = std::max(trace / static_cast<double>(moments.cols()), 1e-30);
  const auto inverse = static_cast<float>(1 / mean);
  const auto added = static_cast<float>(
      settings.damping + settings.shrinkage * static_cast<double>(moments.cols()) /
                             static_cast<double>(std::max<int64_t>(moments.tokens(), 1)));
  // The position that is chosen k-th, in the sums.
  const auto at = [&](int64_t k) {
    return feedback.order[static_cast<size_t>(k / kBlock)] * int64_t{kBlock} + k % kBlock;
  };
  // With B the reversed matrix J H J and B = Rᵀ R, H = (J Rᵀ J)(J Rᵀ J)ᵀ, and J Rᵀ J is upper
  // triangular: R transposed along the other diagonal.
  std::vector<float> reversed(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t from = at(n - 1 - i);
    for (int64_t j = i; j < n; ++j) {
      const int64_t other = at(n - 1 - j);
      reversed[static_cast<size_t>(i * n + j)] =
          sums[std::min(from, other) * n + std::max(from, other)] * inverse;
    }
    reversed[static_cast<size_t>(i * n + i)] += added;
  }
  if (!cholesky_upper(reversed.data(), n))
    return fail(ErrorCode::kBadValue,
                fmt::format("calibration moments of {} inputs cannot be factored", n));
  float* const upper = feedback.upper.data();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j)
      upper[i * n + j] = reversed[static_cast<size_t>((n - 1 - j) * n + n - 1 - i)];
  }
  for (int64_t k = 0; k < n; ++k) {
    const float root = upper[k * n + k];
    feedback.penalty[static_cast<size_t>(k)] = root * root;
    const float unit = 1.0f / root;
    for (int64_t j = 0; j <= k; ++j) upper[j * n + k] *= unit;
  }
  return feedback;
}

}  // namespace hlwq
