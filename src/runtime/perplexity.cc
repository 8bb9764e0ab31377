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

// One entry a prediction, in the order of the text.
struct Measured {
  std::vector<double> nll, kl;
  std::vector<uint8_t> same_top;
};

PerplexityReport summarize(Measured& measured, int64_t window, int64_t windows, bool compared) {
  const int64_t each = window - 1;
  PerplexityReport report;
  report.windows = windows;
  report.predictions = windows * each;
  const double count = static_cast<double>(report.predictions);
  std::vector<double> window_nll(static_cast<size_t>(windows));
  for (int64_t w = 0; w < windows; ++w) {
    const auto begin = measured.nll.begin() + w * each;
    window_nll[static_cast<size_t>(w)] =
        std::accumulate(begin, begin + each, 0.0) / static_cast<double>(each);
  }
  const double n = static_cast<double>(windows);
  report.nll = std::accumulate(window_nll.begin(), window_nll.end(), 0.0) / n;
  report.ppl = std::exp(report.nll);
  if (windows > 1) {
    double squares = 0;
    for (const double value : window_nll) squares += (value - report.nll) * (value - report.nll);
    report.nll_stderr = std::sqrt(squares / (n - 1) / n);
  }
  report.ppl_stderr = report.ppl * report.nll_stderr;
  if (compared) {
    DivergenceReport divergence;
    divergence.kl_mean = std::accumulate(measured.kl.begin(), measured.kl.end(), 0.0) / count;
    divergence.top1 =
        std::accumulate(measured.same_top.begin(), measured.same_top.end(), 0.0) / count;
    // Nearest rank.
    const auto rank = static_cast<int64_t>(std::ceil(0.99 * count)) - 1;
    std::nth_element(measured.kl.begin(), measured.kl.begin() + rank, measured.kl.end());
    divergence.kl_p99 = measured.kl[static_cast<size_t>(rank)];
    report.divergence = divergence;
  }
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

  Measured measured;
  const size_t predictions = static_cast<size_t>(windows * (window - 1));
  measured.nll.resize(predictions);
  if (compared) {
    measured.kl.resize(predictions);
    measured.same_top.resize(predictions);
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
        measured.nll[at] = negative_log_likelihood(scorer.row(row), first[w * window + t + 1]);
        if (!compared) return;
        const RowComparison row_comparison = compare_rows(compared->row(row), scorer.row(row));
        measured.kl[at] = row_comparison.kl;
        measured.same_top[at] = row_comparison.same_top ? 1 : 0;
      });
    }
    scorer.close();
    if (compared) compared->close();
    for (int64_t p = done * (window - 1); p < (done + now) * (window - 1); ++p) {
      const size_t at = static_cast<size_t>(p);
      if (!std::isfinite(measured.nll[at]) || (compared && !std::isfinite(measured.kl[at])))
        return fail(ErrorCode::kBadValue,
                    fmt::format("window {}, token {}: the logits are not finite", p / (window - 1),
                                p % (window - 1)));
    }
    done += now;
    if (settings.progress) settings.progress(done, windows);
  }
  return summarize(measured, window, windows, compared.has_value());
}

}  // namespace hlwq
