// The router: sigmoid scores, groups, the k best by corrected score, weights by uncorrected score.

#include <cmath>
#include <limits>

#include "base/check.h"
#include "ops/reference/reference_backend.h"

namespace hlwq {
namespace {

// Marks the `count` largest of `values` in `chosen`; the lower index wins a tie. A NaN counts as
// -infinity, so that whatever comes in, `count` different indices come out.
void choose_largest(const std::vector<float>& values, int64_t count, std::vector<bool>& chosen) {
  chosen.assign(values.size(), false);
  for (int64_t n = 0; n < count; ++n) {
    size_t best = values.size();
    for (size_t i = 0; i < values.size(); ++i) {
      if (!chosen[i] && (best == values.size() || values[i] > values[best] ||
                         (std::isnan(values[best]) && !std::isnan(values[i])))) {
        best = i;
      }
    }
    chosen[best] = true;
  }
}

// Sum of the two largest corrected scores of a group (one, when the group is one expert).
float group_score(const std::vector<float>& corrected, size_t first, size_t size) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  float best = kLowest, second = kLowest;
  for (size_t e = first; e < first + size; ++e) {
    if (corrected[e] > best) {
      second = best;
      best = corrected[e];
    } else if (corrected[e] > second) {
      second = corrected[e];
    }
  }
  return size == 1 ? best : best + second;
}

}  // namespace

void ReferenceBackend::route(const RouteArgs& args) {
  const int64_t experts = args.gate.rows;
  const F32View u = args.u.x;
  HLWQ_CHECK(!args.gate.coded() && args.gate.cols == u.cols && args.norm.x.data != u.data);
  HLWQ_CHECK(args.groups >= 1 && experts % args.groups == 0);
  HLWQ_CHECK(args.groups_used >= 1 && args.groups_used <= args.groups);
  HLWQ_CHECK(args.experts_used >= 1 && args.experts_used <= experts);
  rms_norm({.x = args.norm.x, .weight = args.norm.weight, .eps = args.norm.eps, .out = args.u});
  const auto group_size = static_cast<size_t>(experts / args.groups);
  std::vector<float> scores(static_cast<size_t>(experts)), corrected(scores.size());
  std::vector<float> group_scores(static_cast<size_t>(args.groups));
  std::vector<bool> chosen;

  for (int64_t t = 0; t < u.rows; ++t) {
    for (int64_t e = 0; e < experts; ++e) {
      double logit = 0;
      for (int64_t i = 0; i < u.cols; ++i) {
        logit += static_cast<double>(plain_at(args.gate, e, i)) * u.row(t)[i];
      }
      const auto at = static_cast<size_t>(e);
      scores[at] = static_cast<float>(1.0 / (1.0 + std::exp(-logit)));
      corrected[at] = scores[at] + args.correction_bias[e];
    }
    if (args.groups > 1) {
      for (size_t g = 0; g < group_scores.size(); ++g) {
        group_scores[g] = group_score(corrected, g * group_size, group_size);
      }
      choose_largest(group_scores, args.groups_used, chosen);
      for (size_t e = 0; e < corrected.size(); ++e) {
        if (!chosen[e / group_size]) corrected[e] = -std::numeric_limits<float>::infinity();
      }
    }
    choose_largest(corrected, args.experts_used, chosen);

    int32_t* ids = args.ids + t * args.experts_used;
    float* weights = args.weights + t * args.experts_used;
    int64_t n = 0;
    float sum = 0;
    for (size_t e = 0; e < chosen.size(); ++e) {
      if (!chosen[e]) continue;
      ids[n] = static_cast<int32_t>(e);
      weights[n] = scores[e];
      sum += scores[e];
      ++n;
    }
    for (int64_t i = 0; i < n; ++i) {
      if (args.normalize) weights[i] = weights[i] / (sum + 1e-20f);
      weights[i] = weights[i] * args.scale;
    }
  }
}

}  // namespace hlwq
