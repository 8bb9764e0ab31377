// The body of every BlockKernels::encode_feedback, included once by each block_kernel_<isa>.cc
// after block_kernel-inl.h, under the same rules: unnamed namespace, no inline functions of others.
//
// A lane is a row, so that the 128 dependent choices of a block run for 16 rows at a time.

#include <cstdint>

#include "quant/block_kernel.h"

namespace hlwq {
namespace {

constexpr int kRows = kFeedbackRows;

// The choices of one trial, weight k of the 16 rows in [16 k, 16 k + 16).
struct FeedbackTrial {
  alignas(64) uint8_t codes[kBlock * kRows];
  alignas(64) float cost[kRows];
  alignas(64) float scale[kRows];  // of least cost for these codes
};

// Codes at the given scales, each weight in turn: what it was rounded by moves the weights after
// it. The noise n of weight k is what remains at its turn; cost = sum of penalty * n^2 under the
// scale that makes it least for these codes: for any scale the noise is a - scale * g with g = c (I
// + U), so a change d of the scale makes it n - d g.
template <typename Vector, typename Nearest>
inline void try_scales(const Nearest& nearest, const FeedbackBlock& block, const float* free_noise,
                       const float* scales, FeedbackTrial& trial) {
  alignas(64) float left[kBlock * kRows];
  for (int k = 0; k < kBlock; ++k) Vector::load(block.target + k * kRows).store(left + k * kRows);
  alignas(64) float inverse[kRows];
  for (int l = 0; l < kRows; ++l) inverse[l] = 1.0f / scales[l];
  const Vector scale = Vector::load(scales), inverse_scale = Vector::load(inverse);
  Vector nn = Vector::set1(0.0f), ng = nn, gg = nn;
  for (int k = 0; k < kBlock; ++k) {
    const Vector now = Vector::load(left + k * kRows);
    const auto code = nearest.code(now * inverse_scale);
    code.store(trial.codes + k * kRows);
    const Vector value = nearest.level(code) * scale;
    const Vector error = Vector::load(block.weights + k * kRows) - value;
    const float* const row = block.feedback + k * kBlock;
    for (int next = k + 1; next < kBlock; ++next) {
      float* const at = left + next * kRows;
      fma(error, Vector::set1(row[next]), Vector::load(at)).store(at);
    }
    const Vector n = now - value;
    const Vector g = (Vector::load(free_noise + k * kRows) - n) * inverse_scale;
    const Vector penalty = Vector::set1(block.penalty[k]);
    const Vector weighted = n * penalty;
    nn = fma(weighted, n, nn);
    ng = fma(weighted, g, ng);
    gg = fma(g * penalty, g, gg);
  }
  alignas(64) float sum_nn[kRows], sum_ng[kRows], sum_gg[kRows];
  nn.store(sum_nn);
  ng.store(sum_ng);
  gg.store(sum_gg);
  for (int l = 0; l < kRows; ++l) {
    const float change = sum_gg[l] > 0.0f ? sum_ng[l] / sum_gg[l] : 0.0f;
    const bool useful = scales[l] + change > 0.0f;
    trial.scale[l] = useful ? scales[l] + change : scales[l];
    trial.cost[l] = useful ? sum_nn[l] - sum_ng[l] * change : sum_nn[l];
  }
}

// Rows that did better than `best` replace it. Returns whether any did.
inline void keep_better(const FeedbackTrial& trial, FeedbackTrial& best) {
  alignas(64) uint8_t better[kRows];
  for (int l = 0; l < kRows; ++l) {
    const bool is = trial.cost[l] < best.cost[l];
    better[l] = is ? 0xff : 0;
    best.cost[l] = is ? trial.cost[l] : best.cost[l];
    best.scale[l] = is ? trial.scale[l] : best.scale[l];
  }
  for (int k = 0; k < kBlock; ++k) {
    for (int l = 0; l < kRows; ++l) {
      uint8_t& code = best.codes[k * kRows + l];
      code = static_cast<uint8_t>((trial.codes[k * kRows + l] & better[l]) | (code & ~better[l]));
    }
  }
}

template <typename Vector, typename Nearest>
void encode_with_feedback(const NearestTable& table, const TrialScales& trials,
                          const FeedbackBlock& block, uint8_t* codes, float* scales) {
  const Nearest nearest(table);
  // a = target + weights U: the noise were every value 0.
  alignas(64) float free_noise[kBlock * kRows];
  Vector squares = Vector::set1(0.0f), magnitudes = squares;
  for (int k = 0; k < kBlock; ++k) {
    const Vector target = Vector::load(block.target + k * kRows);
    target.store(free_noise + k * kRows);
    squares = fma(target, target, squares);
    magnitudes = target.magnitude_or(magnitudes);
  }
  for (int k = 0; k < kBlock; ++k) {
    const Vector weight = Vector::load(block.weights + k * kRows);
    const float* const row = block.feedback + k * kBlock;
    for (int next = k + 1; next < kBlock; ++next) {
      float* const at = free_noise + next * kRows;
      fma(weight, Vector::set1(row[next]), Vector::load(at)).store(at);
    }
  }
  alignas(64) float peak[kRows], length[kRows], trial_scale[kRows];
  magnitudes.store(peak);
  squares.store(length);
  for (int l = 0; l < kRows; ++l) {
    length[l] = __builtin_sqrtf(length[l] / static_cast<float>(kBlock));
    trial_scale[l] = length[l] > 1e-12f ? length[l] : 1e-12f;
  }
  FeedbackTrial best, trial;
  try_scales<Vector>(nearest, block, free_noise, trial_scale, best);
  for (int t = 0; t < trials.trials; ++t) {
    for (int l = 0; l < kRows; ++l) {
      const float scale = peak[l] / (trials.inverse_factors[t] * table.top);
      trial_scale[l] = scale > 1e-12f ? scale : 1e-12f;
    }
    try_scales<Vector>(nearest, block, free_noise, trial_scale, trial);
    keep_better(trial, best);
  }
  for (int i = 0; i < trials.refinements; ++i) {
    for (int l = 0; l < kRows; ++l)
      trial_scale[l] = best.scale[l] > 1e-12f ? best.scale[l] : 1e-12f;
    try_scales<Vector>(nearest, block, free_noise, trial_scale, trial);
    keep_better(trial, best);
  }
  for (int i = 0; i < kBlock * kRows; ++i) codes[i] = best.codes[i];
  for (int l = 0; l < kRows; ++l) scales[l] = best.scale[l];
}

}  // namespace
}  // namespace hlwq
