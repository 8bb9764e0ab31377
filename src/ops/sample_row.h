#pragma once
// The sampling rule of ops/sampling.h for logits in host memory.

#include <cstdint>
#include <span>
#include <vector>

#include "ops/sampling.h"

namespace hlwq {

class RowSampler {
 public:
  // The id drawn from `logits` [vocabulary]; -1 when none is above minus infinity. The first call
  // for a vocabulary allocates. Cost: a few passes over the logits, and a heap of the ids where
  // top-k or top-p cut.
  [[nodiscard]] int32_t sample(std::span<const float> logits, const SampleRow& row);

 private:
  // An id with its logit; the order of the rule.
  struct Candidate {
    float logit = 0;
    int32_t id = -1;
    // Whether this comes after `other` in the order.
    [[nodiscard]] bool follows(const Candidate& other) const {
      return logit < other.logit || (logit == other.logit && id > other.id);
    }
  };
  // The last of the order that top-k and top-p keep.
  [[nodiscard]] Candidate last_kept(const Candidate& first, const SampleRow& row);

  std::vector<float> logits_;          // after the repeat penalty
  std::vector<Candidate> candidates_;  // a heap, the most likely on top
};

}  // namespace hlwq
