#pragma once
// From logits to a token id. A pure function of (settings, logits, earlier ids, position): the same
// seed and position give the same token, whatever else runs.

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace hlwq {

// Applied in this order: repeat penalty, temperature, top-k, top-p, min-p (the order of
// transformers' logits processors).
struct SamplerSettings {
  double temperature = 0.8;     // 0: the largest logit, ties to the lower id
  int64_t top_k = 0;            // keep the k most likely; 0: all
  double top_p = 1.0;           // keep the fewest whose probabilities reach p
  double min_p = 0.0;           // drop what is less likely than p times the most likely
  double repeat_penalty = 1.0;  // divides positive and multiplies negative logits of recent ids
  int64_t repeat_window = 64;   // how many of the latest ids are recent
  uint64_t seed = 0;
};

class Sampler {
 public:
  explicit Sampler(const SamplerSettings& settings) : settings_(settings) {}

  // `logits` [vocabulary]; `earlier`: the sequence so far, its last repeat_window ids count;
  // `position`: of the token to be chosen. NaN counts as minus infinity. Cost: O(vocabulary), and
  // a sort of the ids that are kept. Errors: kBadValue when no logit is above minus infinity.
  // Source of the penalty: Keskar et al. 2019 (CTRL), each id once; of top-p: Holtzman et al. 2020.
  [[nodiscard]] Result<int32_t> sample(std::span<const float> logits,
                                       std::span<const int32_t> earlier, uint64_t position);

  [[nodiscard]] const SamplerSettings& settings() const { return settings_; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  void penalize(std::span<const int32_t> earlier);
  [[nodiscard]] int32_t draw(float largest, double uniform);

  SamplerSettings settings_;
  std::vector<Candidate> candidates_;  // of the current call
  std::vector<int32_t> recent_;
};

}  // namespace hlwq
