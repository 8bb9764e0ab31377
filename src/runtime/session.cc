#include "runtime/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace hlwq {

KvForm default_kv_form(bool coded, const Backend& backend) {
  return {.dtype = coded && backend.compute() == Compute::kInt8 ? DType::kF16 : DType::kF32};
}

KvForm default_kv_form(const Model& model, const Backend& backend) {
  return default_kv_form(model.coded(), backend);
}

Session::Session(Backend& backend, Model& model, SequencePool pool, const SessionOptions& options)
    : backend_(&backend),
      model_(&model),
      pool_(std::move(pool)),
      options_(options),
      positions_(static_cast<size_t>(options.sequences), 0) {}

Result<Session> Session::create(Backend& backend, Model& model, const SessionOptions& options) {
  if (options.prefill_chunk < 1)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("prefill chunk: got {} tokens, wanted at least 1", options.prefill_chunk));
  const SequencePoolOptions wanted = {.sequences = options.sequences,
                                      .context = options.context,
                                      .kv = options.kv,
                                      .pages = options.pages,
                                      .step_tokens = options.prefill_chunk};
  auto pool = SequencePool::create(backend, model.state_shape(), wanted);
  // Less memory is free than was planned: what the model can do without is worth less than a
  // sequence.
  if (!pool && pool.error().code == ErrorCode::kOutOfMemory &&
      model.give_back(SequencePool::bytes_for(model.state_shape(), wanted)) > 0)
    pool = SequencePool::create(backend, model.state_shape(), wanted);
  if (!pool) return tl::unexpected(pool.error());
  return Session(backend, model, std::move(*pool), options);
}

Result<int64_t> Session::open() {
  HLWQ_TRY_ASSIGN(const int64_t slot, pool_.open());
  positions_[static_cast<size_t>(slot)] = 0;
  return slot;
}

void Session::close(int64_t slot) { pool_.close(slot); }

int64_t Session::position(int64_t slot) const { return positions_.at(static_cast<size_t>(slot)); }

Status Session::step(std::span<const SequenceInput> inputs, LogitRows rows, MutF32View logits) {
  HLWQ_TRY(issue(inputs, rows, logits));
  return model_->check_finite();
}

Status Session::issue(std::span<const SequenceInput> inputs, LogitRows rows, MutF32View logits) {
  step_ids_.clear();
  step_segments_.clear();
  step_rows_.clear();
  for (const SequenceInput& input : inputs) {
    HLWQ_CHECK(!input.ids.empty());
    const int64_t first = static_cast<int64_t>(step_ids_.size());
    const int64_t tokens = static_cast<int64_t>(input.ids.size());
    HLWQ_CHECK(!options_.kv.coded() || tokens <= options_.prefill_chunk);
    const int64_t position = this->position(input.slot);
    HLWQ_TRY(pool_.grow(input.slot, position + tokens));
    for (size_t i = 0; i < input.ids.size(); ++i) {
      const int32_t id = input.ids[i];
      if (id < 0 || id >= vocabulary())
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("token id {} at position {} is outside the vocabulary of {}", id,
                                position + static_cast<int64_t>(i), vocabulary()));
    }
    step_ids_.insert(step_ids_.end(), input.ids.begin(), input.ids.end());
    step_segments_.push_back(
        {.first_token = first, .tokens = tokens, .position = position, .slot = input.slot});
    if (rows == LogitRows::kLast && input.wants_logits) step_rows_.push_back(first + tokens - 1);
    if (rows == LogitRows::kAll)
      for (int64_t t = first; t < first + tokens; ++t) step_rows_.push_back(t);
  }
  const int64_t row_count = static_cast<int64_t>(step_rows_.size());
  HLWQ_CHECK(row_count == 0 || (logits.rows >= row_count && logits.cols == vocabulary()));
  logits.rows = row_count;
  const StepObserver* const observer =
      trace_ == nullptr ? nullptr : trace_->begin_step(step_segments_);
  HLWQ_TRY(model_->forward({.ids = step_ids_, .segments = step_segments_, .logit_rows = step_rows_},
                           pool_.memory(), logits, observer));
  if (trace_ != nullptr) HLWQ_TRY(trace_->end_step());
  for (const SequenceInput& input : inputs)
    positions_[static_cast<size_t>(input.slot)] += static_cast<int64_t>(input.ids.size());
  return {};
}

Status Session::prefill(std::span<const SequenceInput> inputs, MutF32View logits,
                        const std::atomic<bool>* cancel) {
  HLWQ_CHECK(logits.rows >= static_cast<int64_t>(inputs.size()));
  const size_t chunk = static_cast<size_t>(options_.prefill_chunk);
  size_t longest = 0;
  for (const SequenceInput& input : inputs) longest = std::max(longest, input.ids.size());
  // Inputs whose last token is in this step are fed apart from the others, because only they have
  // logits; which sequences share a step changes no bits (ops/backend.h).
  std::vector<SequenceInput> going, ending;
  for (size_t from = 0; from < longest; from += chunk) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed))
      return fail(ErrorCode::kCancelled, "interrupted");
    going.clear();
    ending.clear();
    std::vector<size_t> ending_rows;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const std::span<const int32_t> ids = inputs[i].ids;
      if (from >= ids.size()) continue;
      const SequenceInput part = {inputs[i].slot,
                                  ids.subspan(from, std::min(chunk, ids.size() - from))};
      if (from + chunk < ids.size()) {
        going.push_back(part);
      } else {
        ending.push_back(part);
        ending_rows.push_back(i);
      }
    }
    if (!going.empty()) HLWQ_TRY(issue(going, LogitRows::kNone, {}));
    // Rows of inputs that end together are consecutive unless lengths differ.
    for (size_t i = 0; i < ending.size();) {
      size_t end = i + 1;
      while (end < ending.size() && ending_rows[end] == ending_rows[end - 1] + 1) ++end;
      MutF32View out = logits;
      out.data = logits.row(static_cast<int64_t>(ending_rows[i]));
      out.rows = static_cast<int64_t>(end - i);
      HLWQ_TRY(issue(std::span(ending).subspan(i, end - i), LogitRows::kLast, out));
      i = end;
    }
  }
  return model_->check_finite();
}

Status Session::sample(F32View logits, std::span<const SampleRow> rows, std::span<int32_t> ids) {
  HLWQ_CHECK(logits.rows == static_cast<int64_t>(rows.size()) && ids.size() == rows.size());
  backend_->sample({.logits = logits, .rows = rows, .ids = ids});
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0)
      return fail(ErrorCode::kBadValue,
                  fmt::format("position {}: none of {} logits is above minus infinity",
                              rows[i].position, logits.cols));
  return {};
}

Status Session::decode(std::span<const SequenceInput> inputs, std::span<const SampleRow> rows,
                       MutF32View logits, std::span<int32_t> ids) {
  HLWQ_TRY(issue(inputs, LogitRows::kLast, logits));
  logits.rows = static_cast<int64_t>(inputs.size());
  const Status sampled = sample(logits, rows, ids);
  HLWQ_TRY(model_->check_finite());  // says more than a row without logits
  return sampled;
}

void Session::read_logits(F32View logits, int64_t row, std::span<float> out) {
  HLWQ_CHECK(static_cast<int64_t>(out.size()) == vocabulary() && row < logits.rows);
  backend_->download(out.data(), logits.row(row), out.size_bytes());
}

void Session::write_logits(MutF32View logits, int64_t row, std::span<const float> from) {
  HLWQ_CHECK(static_cast<int64_t>(from.size()) == vocabulary() && row < logits.rows);
  backend_->upload(logits.row(row), from.data(), from.size_bytes());
}

Result<Snapshot> Session::save(int64_t slot, SnapshotStore& store,
                               std::span<const SnapshotPage> held) {
  return save_sequence(*backend_, pool_, slot, position(slot), store, held);
}

Status Session::restore(int64_t slot, const Snapshot& snapshot) {
  HLWQ_CHECK(position(slot) == 0);
  HLWQ_TRY(restore_sequence(*backend_, pool_, slot, snapshot));
  positions_[static_cast<size_t>(slot)] = snapshot.tokens;
  return {};
}

Result<Buffer> Session::allocate_logits(int64_t rows) const {
  return backend_->allocate(static_cast<size_t>(rows * vocabulary()) * sizeof(float), "logits");
}

}  // namespace hlwq
