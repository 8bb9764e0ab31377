#pragma once
// What perplexity and KL need from rows of logits, in double.

#include <cstdint>
#include <span>

namespace hlwq {

// -ln p(target) under softmax(logits). Not finite when the logits are not.
[[nodiscard]] double negative_log_likelihood(std::span<const float> logits, int64_t target);

// Sum over i of p_ref ln(p_ref / p), in nats, and whether both have the same largest logit (ties to
// the lower id). Spans of one length.
struct RowComparison {
  double kl = 0;
  bool same_top = false;
};
[[nodiscard]] RowComparison compare_rows(std::span<const float> reference,
                                         std::span<const float> logits);

}  // namespace hlwq
