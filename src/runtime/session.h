#pragma once
// Sequences of one model: who feeds tokens, in which steps, at which positions. One thread owns it.

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/model.h"
#include "runtime/experts/routing_trace.h"
#include "runtime/sequence_pool.h"
#include "runtime/snapshot.h"

namespace hlwq {

struct SessionOptions {
  int64_t sequences = 1;
  int64_t context = 4096;  // most tokens of a sequence
  KvForm kv = {};
  int64_t prefill_chunk = 512;  // most tokens of one sequence in a step; sets where prompts are cut
  int64_t pages = 0;            // as SequencePoolOptions
};

// The KV cache a model runs with when nothing else is asked for: F16, but F32 where the arithmetic
// is to be exact (Compute::kExact, or nothing coded at all), so that it adds no error to what is
// measured.
[[nodiscard]] KvForm default_kv_form(const Model& model, const Backend& backend);
[[nodiscard]] KvForm default_kv_form(bool coded, const Backend& backend);

// Tokens that follow what a sequence already holds.
struct SequenceInput {
  int64_t slot = 0;
  std::span<const int32_t> ids;
  bool wants_logits = true;  // of its last token, under LogitRows::kLast
};

enum class LogitRows { kNone, kLast, kAll };  // kLast: of each input that wants them

class Session {
 public:
  // `backend` and `model` must outlive the session. Errors: as SequencePool::create.
  static Result<Session> create(Backend& backend, Model& model, const SessionOptions& options);

  // A new, empty sequence. Errors: kOutOfMemory when all are in use.
  [[nodiscard]] Result<int64_t> open();
  void close(int64_t slot);
  [[nodiscard]] int64_t position(int64_t slot) const;  // tokens fed so far
  [[nodiscard]] int64_t context() const { return pool_.context(); }
  [[nodiscard]] const SessionOptions& options() const { return options_; }
  [[nodiscard]] const SequencePool& pool() const { return pool_; }
  [[nodiscard]] int64_t vocabulary() const { return model_->config().vocabulary; }

  // One step over all inputs side by side. `logits`: [inputs or tokens, vocabulary] on the back
  // end's device, rows in the order of the inputs; unused for kNone. An input has at most
  // prefill_chunk ids where the KV cache is coded. Errors: kInvalidArgument
  // (beyond the context; ids outside the vocabulary), kOutOfMemory (no KV page), and what
  // Model::forward and check_finite report. After an error the sequences of the step are unusable:
  // close them.
  [[nodiscard]] Status step(std::span<const SequenceInput> inputs, LogitRows rows,
                            MutF32View logits);
  // step() in two halves, for steps that need not be waited for one by one: `issue` does not ask
  // whether all was finite; `check` asks, of every step since it was last asked.
  [[nodiscard]] Status issue(std::span<const SequenceInput> inputs, LogitRows rows,
                             MutF32View logits);
  [[nodiscard]] Status check() { return model_->check_finite(); }

  // Steps of at most prefill_chunk tokens a sequence; logits [inputs, vocabulary] of each one's
  // last token. Inputs must not be empty. Sequences of unequal length go on side by side until each
  // ends. Errors: as step, and kCancelled when `cancel` (may be null) was set between two steps.
  [[nodiscard]] Status prefill(std::span<const SequenceInput> inputs, MutF32View logits,
                               const std::atomic<bool>* cancel = nullptr);

  // The next token of each row of `logits`, drawn where they lie: only ids cross to the host.
  // Errors: kBadValue when a row has no logit above minus infinity.
  [[nodiscard]] Status sample(F32View logits, std::span<const SampleRow> rows,
                              std::span<int32_t> ids);

  // step() with kLast, then sample(): what a decode step does, waiting for the device once.
  // `logits` [inputs, vocabulary] is where the logits go. Errors: as both.
  [[nodiscard]] Status decode(std::span<const SequenceInput> inputs,
                              std::span<const SampleRow> rows, MutF32View logits,
                              std::span<int32_t> ids);

  // What the router chooses in steps from now on goes there too, until null is set; it must outlive
  // them. Their errors are then also those of RoutingRecorder::end_step.
  void set_trace(RoutingRecorder* trace) { trace_ = trace; }

  // Between a row of logits, which lies on the device, and host memory; row.size() == vocabulary.
  void read_logits(F32View logits, int64_t row, std::span<float> out);
  void write_logits(MutF32View logits, int64_t row, std::span<const float> from);

  // Everything of a sequence, on the host; the same tokens go on from it with the same bits.
  // Errors: kOutOfMemory (no room in `store`). `held` are pages of an earlier snapshot of this
  // sequence, at a position that was no later; they are shared, not copied.
  [[nodiscard]] Result<Snapshot> save(int64_t slot, SnapshotStore& store,
                                      std::span<const SnapshotPage> held);
  // Into a slot that holds nothing yet. Errors: as grow of SequencePool.
  [[nodiscard]] Status restore(int64_t slot, const Snapshot& snapshot);

  // A logits buffer of the shape step() wants, on the back end's device. Errors: kOutOfMemory.
  [[nodiscard]] Result<Buffer> allocate_logits(int64_t rows) const;

 private:
  Session(Backend& backend, Model& model, SequencePool pool, const SessionOptions& options);
  Backend* backend_;
  Model* model_;
  SequencePool pool_;
  SessionOptions options_;
  RoutingRecorder* trace_ = nullptr;
  std::vector<int64_t> positions_;  // by slot
  std::vector<int32_t> step_ids_;   // of the current step
  std::vector<Segment> step_segments_;
  std::vector<int64_t> step_rows_;
};

}  // namespace hlwq
