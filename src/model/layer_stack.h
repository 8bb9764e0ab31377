#pragma once
// The model behind hlwq::Model.

#include <memory>
#include <span>

#include "model/activations.h"
#include "model/expert_runner.h"
#include "model/model.h"
#include "model/weights.h"
#include "ops/host_rows.h"

namespace hlwq {

class LayerStack final : public Model {
 public:
  // Allocates the step's buffers; `experts` are the routed experts of every MoE layer. The back end
  // has been made ready for the limits (prepare_memory). Errors: kOutOfMemory.
  static Result<std::unique_ptr<Model>> create(Backend& backend, ModelConfig config,
                                               ModelWeights weights,
                                               std::unique_ptr<ExpertRunner> experts,
                                               const StepLimits& limits);

  [[nodiscard]] const ModelConfig& config() const override { return config_; }
  [[nodiscard]] StateShape state_shape() const override;
  [[nodiscard]] size_t weight_bytes() const override;
  [[nodiscard]] size_t activation_bytes() const override { return buffers_.bytes(); }
  [[nodiscard]] bool coded() const override { return weights_.coded; }
  [[nodiscard]] int64_t decode_bytes(int64_t sequences) const override;
  [[nodiscard]] Status forward(const StepBatch& step, const SequenceMemory& memory,
                               MutF32View logits, const StepObserver* observer) override;
  [[nodiscard]] Status check_finite() override;
  [[nodiscard]] size_t give_back(size_t bytes) override { return experts_->give_back(bytes); }
  [[nodiscard]] std::vector<ExpertLayerStats> take_expert_stats() override {
    return experts_->take_stats();
  }

 private:
  LayerStack(Backend& backend, ModelConfig config, ModelWeights weights,
             std::unique_ptr<ExpertRunner> experts, const StepLimits& limits, StepBuffers buffers);

  [[nodiscard]] Status check(const StepBatch& step, const SequenceMemory& memory,
                             const MutF32View& logits) const;
  [[nodiscard]] Status run_layers(const StepBatch& step, const SequenceMemory& memory,
                                  const StepObserver* observer);
  void run_head(std::span<const int64_t> logit_rows, int64_t tokens, MutF32View logits,
                const StepObserver* observer);
  void observe_hidden(const StepObserver* observer, int64_t index, F32View hidden);

  Backend& backend_;
  ModelConfig config_;
  ModelWeights weights_;
  std::unique_ptr<ExpertRunner> experts_;
  StepLimits limits_;
  StepBuffers buffers_;
  uint64_t number_;         // of this model in the process: part of the keys of its steps
  HostRows observed_rows_;  // what an observer looks at
};

}  // namespace hlwq
