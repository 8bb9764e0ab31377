#pragma once
// Log probabilities of a row of logits, as the model gave them (before temperature and cuts).

#include <cstdint>
#include <span>
#include <vector>

namespace hlwq {

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;
};

struct TokenLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // the most likely ones, falling, ties by id
};

// NaN counts as minus infinity. `chosen` must be inside the row.
[[nodiscard]] TokenLogprobs token_logprobs(std::span<const float> row, int32_t chosen, int64_t top);

}  // namespace hlwq
