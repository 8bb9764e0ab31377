#include "runtime/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.h"

namespace hlwq {

void Sampler::penalize(std::span<const int32_t> earlier) {
  const size_t window = static_cast<size_t>(std::max<int64_t>(settings_.repeat_window, 0));
  const std::span<const int32_t> last = earlier.last(std::min(window, earlier.size()));
  recent_.assign(last.begin(), last.end());
  std::sort(recent_.begin(), recent_.end());
  recent_.erase(std::unique(recent_.begin(), recent_.end()), recent_.end());
  const float penalty = static_cast<float>(settings_.repeat_penalty);
  for (const int32_t id : recent_) {
    if (id < 0 || static_cast<size_t>(id) >= candidates_.size()) continue;
    float& logit = candidates_[static_cast<size_t>(id)].logit;
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const int32_t> earlier,
                                uint64_t position) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  candidates_.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    candidates_[i] = {std::isnan(logits[i]) ? kNone : logits[i], static_cast<int32_t>(i)};
  if (settings_.repeat_penalty != 1.0) penalize(earlier);

  float largest = kNone;
  int32_t best = -1;
  for (const Candidate& c : candidates_) {
    if (c.logit > largest) {
      largest = c.logit;
      best = c.id;
    }
  }
  if (best < 0)
    return fail(ErrorCode::kBadValue,
                fmt::format("position {}: none of {} logits is above minus infinity", position,
                            logits.size()));
  if (settings_.temperature <= 0) return best;
  return draw(largest, random_uniform(settings_.seed, position));
}

// Takes candidates from a heap, the most likely first (equal ones by id), so that only the ids
// that are kept get sorted, and picks the one where the running mass passes uniform * kept mass.
int32_t Sampler::draw(float largest, double uniform) {
  const double inverse = 1.0 / settings_.temperature;
  // Relative to the most likely, which is exactly 1 also when its logit is infinite.
  const auto mass = [&](const Candidate& c) {
    return c.logit == largest ? 1.0 : std::exp((static_cast<double>(c.logit) - largest) * inverse);
  };
  const auto less_likely = [](const Candidate& a, const Candidate& b) {
    return a.logit < b.logit || (a.logit == b.logit && a.id > b.id);
  };
  std::make_heap(candidates_.begin(), candidates_.end(), less_likely);
  // [heap_end, end) holds the candidates taken so far, the most likely last.
  auto heap_end = candidates_.end();
  const auto take = [&]() -> const Candidate& {
    std::pop_heap(candidates_.begin(), heap_end, less_likely);
    return *--heap_end;
  };
  const auto taken = [&] { return candidates_.end() - heap_end; };

  const int64_t count = static_cast<int64_t>(candidates_.size());
  const int64_t most = settings_.top_k > 0 ? std::min(settings_.top_k, count) : count;
  const bool cuts = settings_.top_p < 1.0 || settings_.min_p > 0.0;

  double total = 0;  // of what top-k keeps
  if (most == count) {
    for (const Candidate& c : candidates_) total += mass(c);
  } else {
    while (taken() < most) total += mass(take());
  }

  double kept = total;
  int64_t keep = most;
  if (cuts) {
    kept = 0;
    keep = 0;
    const double enough = settings_.top_p * total;
    while (keep < most) {
      const double next = mass(keep < taken() ? *(candidates_.end() - 1 - keep) : take());
      // The most likely always stays, so that something is left.
      if (keep > 0 && (kept >= enough || next < settings_.min_p)) break;
      kept += next;
      ++keep;
    }
  }

  const double target = uniform * kept;
  double running = 0;
  int32_t last_possible = candidates_.back().id;
  for (int64_t i = 0; i < keep; ++i) {
    const Candidate& c = i < taken() ? *(candidates_.end() - 1 - i) : take();
    const double m = mass(c);
    running += m;
    if (m > 0) last_possible = c.id;
    if (running >= target) break;
  }
  return last_possible;  // also when rounding left the running sum just below the target
}

}  // namespace hlwq
