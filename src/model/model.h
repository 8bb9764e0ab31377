#pragma once
// A loaded model: weights on a back end and the forward pass of one step.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/expert_home.h"
#include "ops/backend.h"

namespace hlwq {

// What one sequence keeps between steps; the runtime owns it in pools (docs/architecture.md).
struct StateShape {
  int64_t mamba_layers = 0;
  MambaShape mamba{0, 0, 0, 0, 0};
  int64_t attention_layers = 0;
  AttentionShape attention{0, 0, 0};

  [[nodiscard]] int64_t conv_floats() const { return mamba.conv_channels() * (mamba.kernel - 1); }
  [[nodiscard]] int64_t ssm_floats() const { return mamba.heads * mamba.head_dim * mamba.state; }
};

[[nodiscard]] StateShape state_shape_of(const ModelConfig& config);

// Pools of the sequences, indexed by Segment::slot. Borrowed from the runtime.
struct SequenceMemory {
  std::span<float* const> conv;  // per Mamba layer: [slots][conv_channels][kernel-1]
  std::span<float* const> ssm;   // per Mamba layer: [slots][heads][head_dim][state]
  std::span<const KvPages> kv;   // per attention layer
};

struct StepBatch {
  std::span<const int32_t> ids;  // [tokens], segments one after the other
  std::span<const Segment> segments;
  std::span<const int64_t> logit_rows;  // tokens whose logits are wanted, ascending
};

// Looks at intermediate values (tests, traces), in host memory. Called on the engine thread.
struct StepObserver {
  // index 0: embedding output; k: residual after layer k-1; count of layers + 1: after norm_f
  std::function<void(int64_t index, F32View hidden)> hidden;
  std::function<void(int64_t layer, const int32_t* ids, const float* weights, int64_t tokens,
                     int64_t experts_used)>
      routed;
};

// Most tokens and logit rows of a step, fixed at load: every activation buffer is sized by them.
struct StepLimits {
  int64_t tokens = 512;
  int64_t logit_rows = 1;
  int64_t context = 4096;
};

// Bytes of sequence memory that whoever loads a model will want on its device, for a state shape,
// whether anything of the model is coded, and a context. Empty: none.
using SequenceBytes = std::function<size_t(const StateShape& shape, bool coded, int64_t context)>;

class Model {
 public:
  virtual ~Model() = default;
  [[nodiscard]] virtual const ModelConfig& config() const = 0;
  [[nodiscard]] virtual StateShape state_shape() const = 0;
  // Bytes of weights on the device, bytes of activations.
  [[nodiscard]] virtual size_t weight_bytes() const = 0;
  [[nodiscard]] virtual size_t activation_bytes() const = 0;
  [[nodiscard]] virtual bool coded() const = 0;  // any coded matrix
  // Bytes a decode step of `sequences` sequences side by side must move: weights outside the
  // experts once, the experts that even routing would choose, Mamba states in and out. The KV cache
  // is not in it.
  [[nodiscard]] virtual int64_t decode_bytes(int64_t sequences = 1) const = 0;

  // One step. logits [logit_rows, vocabulary], on the back end's device, which may fill them after
  // the call (ops/backend.h). Nothing allocates. Errors: kInvalidArgument (an id outside the
  // vocabulary, more tokens than the limits), or what the expert runner reports.
  [[nodiscard]] virtual Status forward(const StepBatch& step, const SequenceMemory& memory,
                                       MutF32View logits,
                                       const StepObserver* observer = nullptr) = 0;
  // Of the routed experts since the last call, by MoE layer; empty where all are resident.
  [[nodiscard]] virtual std::vector<ExpertLayerStats> take_expert_stats() { return {}; }
  // Gives memory of the device back that it can do without, for others to use; returns how much.
  [[nodiscard]] virtual size_t give_back(size_t /*bytes*/) { return 0; }
  // Waits for the steps so far. Errors: kBadValue when one since the last call had activations that
  // are not finite; the sequences of those steps are then unusable. Every caller asks before it
  // trusts logits.
  [[nodiscard]] virtual Status check_finite() = 0;
};

struct LoadOptions {
  std::string base = {};  // --base: folder that supplies tensors the checkpoint lacks
  StepLimits limits = StepLimits();
  SequenceBytes sequence_bytes = {};
  ExpertHome* home = nullptr;  // of the routed experts; null: with everything else. It must outlive
                               // the model
  int load_threads = 1;
  // Told where each parameter lies, before it is read; may be empty.
  std::function<void(const std::string& name, const Matrix& matrix)> placed = {};
  std::function<void(uint64_t done, uint64_t total)> progress = {};  // bytes read; may be empty
};

// Loads the checkpoint folder `path` onto `backend`, which must outlive the model. Experts are laid
// into one contiguous record each. What the device has no room for is refused before anything is
// read, saying what was wanted for what. Errors: kMissing naming every absent tensor (and saying
// that --base DIR can supply them), kBadLayout, kUnsupported, kIo, kOutOfMemory, kBadValue.
[[nodiscard]] Result<std::unique_ptr<Model>> load_model(const std::string& path, Backend& backend,
                                                        const LoadOptions& options);

}  // namespace hlwq
