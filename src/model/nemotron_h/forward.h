#pragma once
// The model behind hlwq::Model.

#include <memory>
#include <span>

#include "model/expert_runner.h"
#include "model/model.h"
#include "model/nemotron_h/activations.h"
#include "model/nemotron_h/weights.h"

namespace hlwq::nemotron_h {

class NemotronH final : public Model {
 public:
  // Allocates the step's buffers and the back end's scratch; `experts` are the routed experts of
  // every MoE layer. Errors: kOutOfMemory, kInvalidArgument (limits).
  static Result<std::unique_ptr<Model>> create(Backend& backend, NemotronHConfig config,
                                               ModelWeights weights,
                                               std::unique_ptr<ExpertRunner> experts,
                                               const StepLimits& limits);

  [[nodiscard]] const NemotronHConfig& config() const override { return config_; }
  [[nodiscard]] StateShape state_shape() const override;
  [[nodiscard]] size_t weight_bytes() const override;
  [[nodiscard]] size_t activation_bytes() const override { return buffers_.bytes(); }
  [[nodiscard]] bool coded() const override { return weights_.coded; }
  [[nodiscard]] Status forward(const StepBatch& step, const SequenceMemory& memory,
                               MutF32View logits, const StepObserver* observer) override;

 private:
  NemotronH(Backend& backend, NemotronHConfig config, ModelWeights weights,
            std::unique_ptr<ExpertRunner> experts, const StepLimits& limits, StepBuffers buffers);

  [[nodiscard]] Status check(const StepBatch& step, const SequenceMemory& memory,
                             const MutF32View& logits) const;
  [[nodiscard]] Status run_layers(const StepBatch& step, const SequenceMemory& memory,
                                  const StepObserver* observer);
  void run_head(std::span<const int64_t> logit_rows, int64_t tokens, MutF32View logits,
                const StepObserver* observer);

  Backend& backend_;
  NemotronHConfig config_;
  ModelWeights weights_;
  std::unique_ptr<ExpertRunner> experts_;
  StepLimits limits_;
  StepBuffers buffers_;
};

}  // namespace hlwq::nemotron_h
