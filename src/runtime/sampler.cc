#include "runtime/sampler.h"

#include <algorithm>
#include <limits>

namespace hlwq {
namespace {

// Never 0, which means greedy, and never infinite: beyond FP32 any difference decides already.
float inverse_of(double temperature) {
  using Float = std::numeric_limits<float>;
  if (temperature <= 0) return 0.0f;
  return static_cast<float>(
      std::clamp(1.0 / temperature, double{Float::min()}, double{Float::max()}));
}

}  // namespace

Sampler::Sampler(const SamplerSettings& settings, int64_t vocabulary)
    : row_{.inverse_temperature = inverse_of(settings.temperature),
           .top_k = static_cast<int32_t>(
               std::clamp<int64_t>(settings.top_k, 0, std::numeric_limits<int32_t>::max())),
           .top_p = static_cast<float>(settings.top_p),
           .min_p = static_cast<float>(settings.min_p),
           .repeat_penalty = static_cast<float>(settings.repeat_penalty),
           .seed = settings.seed},
      repeat_window_(std::max<int64_t>(settings.repeat_window, 0)),
      vocabulary_(vocabulary) {}

SampleRow Sampler::row(std::span<const int32_t> earlier, uint64_t position) {
  recent_.clear();
  if (row_.repeat_penalty != 1.0f) {
    const auto last = earlier.last(std::min(static_cast<size_t>(repeat_window_), earlier.size()));
    std::copy_if(last.begin(), last.end(), std::back_inserter(recent_),
                 [&](int32_t id) { return id >= 0 && id < vocabulary_; });
    std::sort(recent_.begin(), recent_.end());
    recent_.erase(std::unique(recent_.begin(), recent_.end()), recent_.end());
  }
  SampleRow row = row_;
  row.position = position;
  row.recent = recent_;
  return row;
}

}  // namespace hlwq
