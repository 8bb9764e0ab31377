#include "model/rope.h"

#include <cmath>
#include <numbers>

namespace hlwq {
namespace {

// Llama 3's rule: long waves are stretched by the factor, short ones stay, between them the
// frequency goes from one to the other in proportion to the waves in the original context.
double llama3_frequency(const RopeConfig& rope, double frequency) {
  const double waves = rope.original_positions * frequency / (2.0 * std::numbers::pi);
  if (waves < rope.low_freq_factor) return frequency / rope.factor;
  if (waves > rope.high_freq_factor) return frequency;
  const double share =
      (waves - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - share) * frequency / rope.factor + share * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t head_dim) {
  std::vector<double> frequencies(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    const double frequency = std::pow(rope.theta, -exponent);
    switch (rope.scaling) {
      case RopeConfig::Scaling::kNone:
        frequencies[i] = frequency;
        break;
      case RopeConfig::Scaling::kLinear:
        frequencies[i] = frequency / rope.factor;
        break;
      case RopeConfig::Scaling::kLlama3:
        frequencies[i] = llama3_frequency(rope, frequency);
        break;
    }
  }
  return frequencies;
}

std::vector<float> rope_table(const RopeConfig& rope, int64_t head_dim, int64_t positions) {
  const std::vector<double> frequencies = rope_frequencies(rope, head_dim);
  const size_t pairs = frequencies.size();
  std::vector<float> table(static_cast<size_t>(positions) * 2 * pairs);
  for (int64_t p = 0; p < positions; ++p) {
    float* const row = table.data() + static_cast<size_t>(p) * 2 * pairs;
    for (size_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(p) * frequencies[i];
      row[i] = static_cast<float>(std::cos(angle));
      row[pairs + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace hlwq
