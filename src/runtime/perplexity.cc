#include "runtime/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "ops/host_rows.h"
#include "runtime/row_statistics.h"
#include "runtime/session.h"

namespace hlwq {
namespace {

constexpr int64_t kLogitBytes = int64_t{256}
                                << 20;  // of one model's step, unless one chunk is more

// One model running a group of windows, chunk by chunk.
class Scorer {
 public:
  static Result<Scorer> create(const ScoredModel& scored, int64_t window, int64_t side_by_side,
                               int64_t chunk) {
    HLWQ_TRY_ASSIGN(auto session, Session::create(*scored.backend, *scored.model,
                                                  {.sequences = side_by_side,
                                                   .context = window,
                                                   .kv = scored.kv,
                                                   .prefill_chunk = chunk}));
    HLWQ_TRY_ASSIGN(Buffer logits, session.allocate_logits(side_by_side * chunk));
    return Scorer(*scored.backend, std::move(session), std::move(logits), side_by_side * chunk);
  }

  Status open(int64_t windows) {
    for (int64_t w = 0; w < windows; ++w) {
      HLWQ_TRY_ASSIGN(const int64_t slot, session_.open());
      slots_.push_back(slot);
    }
    return {};
  }
  void close() {
    for (const int64_t slot : slots_) session_.close(slot);
    slots_.clear();
  }

  // Tokens [begin, begin + tokens) of each open window; `first` points to the first window's id 0.
  // Its logits can be read until the next step.
  Status step(const int32_t* first, int64_t window, int64_t begin, int64_t tokens) {
    inputs_.clear();
    for (size_t w = 0; w < slots_.size(); ++w)
      inputs_.push_back(
          {slots_[w],
           {first + static_cast<int64_t>(w) * window + begin, static_cast<size_t>(tokens)}});
    MutF32View logits = dense(logits_.as<float>().data(), rows_, session_.vocabulary());
    HLWQ_TRY(session_.step(inputs_, LogitRows::kAll, logits));
    logits.rows = static_cast<int64_t>(slots_.size()) * tokens;
    readable_ = host_rows_.read(*backend_, logits);
    return {};
  }
  [[nodiscard]] std::span<const float> row(int64_t r) const {
    return {readable_.row(r), static_cast<size_t>(readable_.cols)};
  }

 private:
  Scorer(Backend& backend, Session session, Buffer logits, int64_t rows)
      : backend_(&backend), session_(std::move(session)), logits_(std::move(logits)), rows_(rows) {}

  Backend* backend_;
  Session session_;
  Buffer logits_;  // [rows_, vocabulary]
  int64_t rows_;
  HostRows host_rows_;
  F32View readable_;  // the last step's logits, on the host
  std::vector<int64_t> slots_;
  std::vector<SequenceInput> inputs_;
};

struct Mean {
  double value = 0;
  double standard_error = 0;  // of windows; 0 for one
};

// Means of `each` entries apiece.
template <typename T>
std::vector<double> window_means(const std::vector<T>& values, int64_t each) {
  std::vector<double> means;
  for (auto begin = values.begin(); begin != values.end(); begin += each)
    means.push_back(std::accumulate(begin, begin + each, 0.0) / static_cast<double>(each));
  return means;
}

// Windows have as many predictions each, so this is the mean over predictions too. Tokens of one
// window depend on each other: the spread of windows says what that of tokens would hide.
Mean mean_of(const std::vector<double>& windows) {
  const double n = static_cast<double>(windows.size());
  Mean mean = {.value = std::accumulate(windows.begin(), windows.end(), 0.0) / n};
  if (windows.size() < 2) return mean;
  double squares = 0;
  for (const double value : windows) squares += (value - mean.value) * (value - mean.value);
  mean.standard_error = std::sqrt(squares / (n - 1) / n);
  return mean;
}

// Nearest rank; `share` in (0, 1]. Reorders the values.
double percentile(std::vector<double>& values, double share) {
  const auto rank = static_cast<int64_t>(std::ceil(share * static_cast<double>(values.size()))) - 1;
  const auto at = values.begin() + std::max<int64_t>(rank, 0);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

DivergenceReport diverge(PredictionScores& scores, const std::vector<double>& window_nll,
                         int64_t each) {
  const std::vector<double> reference_nll = window_means(scores.reference_nll, each);
  std::vector<double> differences = window_nll;
  for (size_t w = 0; w < differences.size(); ++w) differences[w] -= reference_nll[w];
  const Mean kl = mean_of(window_means(scores.kl, each));
  const Mean top1 = mean_of(window_means(scores.same_top, each));
  return {.kl_mean = kl.value,
          .kl_median = percentile(scores.kl, 0.5),
          .kl_p99 = percentile(scores.kl, 0.99),
          .kl_p999 = percentile(scores.kl, 0.999),
          .top1 = top1.value,
          .kl_mean_stderr = kl.standard_error,
          .top1_stderr = top1.standard_error,
          .reference_nll = mean_of(reference_nll).value,
          .nll_difference_stderr = mean_of(differences).standard_error};
}

PerplexityReport summarize(PredictionScores& scores, int64_t window, int64_t windows,
                           bool compared) {
  const int64_t each = window - 1;
  const std::vector<double> window_nll = window_means(scores.nll, each);
  const Mean nll = mean_of(window_nll);
  PerplexityReport report = {.nll = nll.value,
                             .ppl = std::exp(nll.value),
                             .nll_stderr = nll.standard_error,
                             .ppl_stderr = std::exp(nll.value) * nll.standard_error,
                             .predictions = windows * each,
                             .windows = windows};
  if (compared) report.divergence = diverge(scores, window_nll, each);
  return report;
}

Result<int64_t> count_windows(std::span<const int32_t> ids, const PerplexitySettings& settings) {
  if (settings.window < 2)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("window: got {} tokens, wanted at least 2", settings.window));
  const int64_t available = static_cast<int64_t>(ids.size()) / settings.window;
  if (available == 0)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the text has {} tokens, one window has {}", ids.size(), settings.window));
  if (settings.windows > available)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} windows of {} tokens wanted, the text has {}", settings.windows,
                            settings.window, available));
  return settings.windows > 0 ? settings.windows : available;
}

}  // namespace

Result<PerplexityReport> measure_perplexity(const ScoredModel& model, const ScoredModel* reference,
                                            std::span<const int32_t> ids,
                                            const PerplexitySettings& settings, ThreadPool& pool) {
  HLWQ_TRY_ASSIGN(const int64_t windows, count_windows(ids, settings));
  const int64_t window = settings.window;
  const int64_t vocabulary = model.model->config().vocabulary;
  if (reference != nullptr && reference->model->config().vocabulary != vocabulary)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the models' vocabularies differ: {} and {} (of the one to compare with)",
                    vocabulary, reference->model->config().vocabulary));

  int64_t step_tokens = model.step_tokens;
  if (reference != nullptr) step_tokens = std::min(step_tokens, reference->step_tokens);
  const int64_t chunk = std::min({settings.chunk, window, step_tokens});
  const int64_t row_bytes = vocabulary * static_cast<int64_t>(sizeof(float));
  const int64_t side_by_side = std::clamp<int64_t>(
      std::min(step_tokens / chunk, kLogitBytes / (chunk * row_bytes)), 1, windows);

  HLWQ_TRY_ASSIGN(auto scorer, Scorer::create(model, window, side_by_side, chunk));
  std::optional<Scorer> compared;
  if (reference != nullptr) {
    HLWQ_TRY_ASSIGN(compared, Scorer::create(*reference, window, side_by_side, chunk));
  }

  PredictionScores scores;
  const size_t predictions = static_cast<size_t>(windows * (window - 1));
  scores.nll.resize(predictions);
  if (compared) {
    scores.reference_nll.resize(predictions);
    scores.kl.resize(predictions);
    scores.same_top.resize(predictions);
  }
  for (int64_t done = 0; done < windows;) {
    const int64_t now = std::min(side_by_side, windows - done);
    const int32_t* first = ids.data() + done * window;
    HLWQ_TRY(scorer.open(now));
    if (compared) HLWQ_TRY(compared->open(now));
    for (int64_t begin = 0; begin < window; begin += chunk) {
      if (settings.cancel != nullptr && settings.cancel->load(std::memory_order_relaxed))
        return fail(ErrorCode::kCancelled, "interrupted");
      const int64_t tokens = std::min(chunk, window - begin);
      HLWQ_TRY(scorer.step(first, window, begin, tokens));
      if (compared) HLWQ_TRY(compared->step(first, window, begin, tokens));
      pool.run(now * tokens, [&](int64_t row) {
        const int64_t w = row / tokens, t = begin + row % tokens;
        if (t + 1 == window) return;  // predicts the next window's first token: not counted
        const size_t at = static_cast<size_t>((done + w) * (window - 1) + t);
        const int32_t target = first[w * window + t + 1];
        if (!compared) {
          scores.nll[at] = negative_log_likelihood(scorer.row(row), target);
          return;
        }
        const RowComparison comparison = compare_rows(compared->row(row), scorer.row(row), target);
        scores.nll[at] = comparison.nll;
        scores.reference_nll[at] = comparison.reference_nll;
        scores.kl[at] = comparison.kl;
        scores.same_top[at] = comparison.same_top ? 1 : 0;
      });
    }
    scorer.close();
    if (compared) compared->close();
    for (int64_t p = done * (window - 1); p < (done + now) * (window - 1); ++p) {
      const size_t at = static_cast<size_t>(p);
      if (!std::isfinite(scores.nll[at]) || (compared && !std::isfinite(scores.kl[at])))
        return fail(ErrorCode::kBadValue,
                    fmt::format("window {}, token {}: the logits are not finite", p / (window - 1),
                                p % (window - 1)));
    }
    for (int64_t w = done; settings.on_window && w < done + now; ++w)
      if (!settings.on_window(w, scores)) return fail(ErrorCode::kCancelled, "interrupted");
    done += now;
    if (settings.progress) settings.progress(done, windows);
  }
  return summarize(scores, window, windows, compared.has_value());
}

}  // namespace hlwq
