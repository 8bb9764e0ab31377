#pragma once
// What one request asks of sampling, in the form back ends draw from (ops/sampling.h). The id is a
// pure function of (settings, logits, earlier ids, position): the same seed and position give the
// same token, whatever else runs and on whatever device.

#include <cstdint>
#include <span>
#include <vector>

#include "ops/sampling.h"

namespace hlwq {

// Applied in this order: repeat penalty, temperature, top-k, top-p, min-p (the order of
// transformers' logits processors). Used as FP32.
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
  Sampler(const SamplerSettings& settings, int64_t vocabulary);

  // How to draw the token at `position`. `earlier`: the sequence so far; the last repeat_window
  // ids count, each once, those outside the vocabulary not at all. Valid until the next call.
  [[nodiscard]] SampleRow row(std::span<const int32_t> earlier, uint64_t position);

 private:
  SampleRow row_;  // but for what row() fills in
  int64_t repeat_window_, vocabulary_;
  std::vector<int32_t> recent_;
};

}  // namespace hlwq
