#pragma once
// Perplexity of a text, and the distance of one model's predictions from another's.
// Method: consecutive windows, each on its own (no tokens before it, no BOS added); every token but
// the first of a window is predicted; the mean is over all predictions.

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "model/model.h"
#include "runtime/sequence_pool.h"

namespace hlwq {

// A model with the back end it lives on, and the StepLimits::tokens it was loaded with.
struct ScoredModel {
  Backend* backend = nullptr;
  Model* model = nullptr;
  int64_t step_tokens = 512;
  KvForm kv = {};
};

// One entry a prediction, in the order of the text; the last three with a reference alone.
struct PredictionScores {
  std::vector<double> nll, reference_nll, kl;
  std::vector<uint8_t> same_top;
};

struct PerplexitySettings {
  int64_t window = 512;  // tokens, at least 2
  int64_t windows = 0;   // 0: as many whole ones as the text has
  int64_t chunk =
      512;  // most tokens of a window in one step; fewer take less memory, not other bits
  std::function<void(int64_t done, int64_t total)> progress = {};  // windows; may be empty
  // Called in order with the number of a window whose scores are there: entries
  // [window * (W - 1), (window + 1) * (W - 1)); false cancels. May be empty.
  std::function<bool(int64_t window, const PredictionScores& scores)> on_window = {};
  const std::atomic<bool>* cancel = nullptr;  // may be null
};

// KL is in nats: sum over the vocabulary of p_ref ln(p_ref / p). A percentile is the nearest rank:
// so many of 100 predictions are not above it.
struct DivergenceReport {
  double kl_mean = 0, kl_median = 0, kl_p99 = 0, kl_p999 = 0;
  double top1 = 0;                             // share of predictions with the same top token
  double kl_mean_stderr = 0, top1_stderr = 0;  // from the spread over windows; 0 for one window
  double reference_nll = 0;                    // nats a prediction
  double nll_difference_stderr = 0;            // of nll - reference_nll, pairs of windows
};

struct PerplexityReport {
  double nll = 0;           // nats a prediction
  double ppl = 0;           // e^nll
  double nll_stderr = 0;    // standard error of nll, from the spread over windows; 0 for one window
  double ppl_stderr = 0;    // ppl * nll_stderr
  int64_t predictions = 0;  // windows * (window - 1)
  int64_t windows = 0;
  std::optional<DivergenceReport> divergence = {};  // with a reference
};

// Runs windows side by side as far as both models' steps and a fixed bound on logits memory allow;
// that number changes no bits, because a window is cut at multiples of a fixed chunk.
// `reference` may be null. Errors: kInvalidArgument (fewer ids than one window, a window below 2,
// vocabularies that differ, ids outside), kBadValue (logits that are not finite), kCancelled,
// kOutOfMemory, as Session::step.
[[nodiscard]] Result<PerplexityReport> measure_perplexity(const ScoredModel& model,
                                                          const ScoredModel* reference,
                                                          std::span<const int32_t> ids,
                                                          const PerplexitySettings& settings,
                                                          ThreadPool& pool);

}  // namespace hlwq
