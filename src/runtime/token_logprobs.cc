#include "runtime/token_logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace hlwq {

TokenLogprobs token_logprobs(std::span<const float> row, int32_t chosen, int64_t top) {
  const auto logit = [&](int32_t id) {
    const float value = row[static_cast<size_t>(id)];
    return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value;
  };
  float most = -std::numeric_limits<float>::infinity();
  for (size_t id = 0; id < row.size(); ++id) most = std::max(most, logit(static_cast<int32_t>(id)));
  double sum = 0;
  for (size_t id = 0; id < row.size(); ++id)
    sum += std::exp(static_cast<double>(logit(static_cast<int32_t>(id))) - most);
  const double log_sum = static_cast<double>(most) + std::log(sum);
  const auto of = [&](int32_t id) {
    return TokenLogprob{id, static_cast<float>(static_cast<double>(logit(id)) - log_sum)};
  };
  TokenLogprobs out = {.chosen = of(chosen), .top = {}};
  const auto count = std::min(static_cast<size_t>(std::max<int64_t>(top, 0)), row.size());
  if (count == 0) return out;
  std::vector<int32_t> ids(row.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logit(a), y = logit(b);
                      return x != y ? x > y : a < b;
                    });
  for (size_t i = 0; i < count; ++i) out.top.push_back(of(ids[i]));
  return out;
}

}  // namespace hlwq
