#include "ops/sample_row.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace hlwq {

int32_t RowSampler::sample(std::span<const float> logits, const SampleRow& row) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const size_t count = logits.size();
  logits_.resize(count);
  for (size_t i = 0; i < count; ++i) logits_[i] = penalized_logit(logits[i], 1.0f);
  if (row.repeat_penalty != 1.0f) {
    for (const int32_t id : row.recent) {
      HLWQ_CHECK(id >= 0 && static_cast<size_t>(id) < count);
      const auto at = static_cast<size_t>(id);
      logits_[at] = penalized_logit(logits[at], row.repeat_penalty);
    }
  }

  Candidate first{.logit = kNone, .id = -1};
  for (size_t i = 0; i < count; ++i)
    if (logits_[i] > first.logit) first = {.logit = logits_[i], .id = static_cast<int32_t>(i)};
  if (first.id < 0 || row.inverse_temperature == 0) return first.id;

  const bool ordered = (row.top_k > 0 && static_cast<size_t>(row.top_k) < count) || row.top_p < 1;
  const Candidate last = ordered ? last_kept(first, row) : Candidate{};
  const uint64_t least = min_p_mass(row.min_p);
  // Mass of an id in the draw; 0 for those cut off.
  const auto kept_mass = [&](size_t i) -> uint64_t {
    const Candidate c{.logit = logits_[i], .id = static_cast<int32_t>(i)};
    if (ordered && c.follows(last)) return 0;
    const uint64_t mass = mass_of_logit(c.logit, first.logit, row.inverse_temperature);
    return mass >= least ? mass : 0;
  };
  uint64_t kept = 0;
  for (size_t i = 0; i < count; ++i) kept += kept_mass(i);
  const uint64_t target = draw_target(row.seed, row.position, kept);
  uint64_t running = 0;
  for (size_t i = 0; i < count; ++i) {
    running += kept_mass(i);
    if (running > target) return static_cast<int32_t>(i);
  }
  HLWQ_CHECK(false);  // target < kept: the first of the order always stays
  return -1;
}

RowSampler::Candidate RowSampler::last_kept(const Candidate& first, const SampleRow& row) {
  const size_t count = logits_.size();
  const auto mass = [&](const Candidate& c) {
    return mass_of_logit(c.logit, first.logit, row.inverse_temperature);
  };
  candidates_.resize(count);
  for (size_t i = 0; i < count; ++i)
    candidates_[i] = {.logit = logits_[i], .id = static_cast<int32_t>(i)};
  const auto follows = [](const Candidate& a, const Candidate& b) { return a.follows(b); };
  if (row.top_k > 0 && static_cast<size_t>(row.top_k) < count) {
    const auto end = candidates_.begin() + row.top_k;
    std::nth_element(candidates_.begin(), end - 1, candidates_.end(),
                     [](const Candidate& a, const Candidate& b) { return b.follows(a); });
    if (!(row.top_p < 1)) return *(end - 1);
    candidates_.erase(end, candidates_.end());
  }
  uint64_t total = 0;
  for (const Candidate& c : candidates_) total += mass(c);
  const uint64_t target = row.top_p < 1 ? top_p_target(total, row.top_p) : total;
  std::make_heap(candidates_.begin(), candidates_.end(), follows);
  Candidate last = first;
  uint64_t sum = 0;
  auto end = candidates_.end();
  do {
    std::pop_heap(candidates_.begin(), end, follows);
    last = *--end;
    sum += mass(last);
  } while (sum < target);  // ends: the masses of all sum up to total
  return last;
}

}  // namespace hlwq
