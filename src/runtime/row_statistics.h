#pragma once
// What perplexity and KL need from rows of logits, in double.

#include <cstdint>
#include <span>

namespace hlwq {

// -ln p(target) under softmax(logits). Not finite when the logits are not.
[[nodiscard]] double negative_log_likelihood(std::span<const float> logits, int64_t target);

// Sum over i of p_ref ln(p_ref / p), in nats, whether both have the same largest logit (ties to the
// lower id), and -ln p(target) of either, with the bits of negative_log_likelihood. Spans of one
// length.
struct RowComparison {
  double kl = 0;
  bool same_top = false;
  double nll = 0, reference_nll = 0;
};
[[nodiscard]] RowComparison compare_rows(std::span<const float> reference,
                                         std::span<const float> logits, int64_t target);

}  // namespace hlwq
