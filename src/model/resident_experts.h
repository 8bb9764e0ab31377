#pragma once
// Routed experts that all lie in the back end's memory.

#include <vector>

#include "model/expert_runner.h"
#include "ops/backend.h"
#include "tensor/buffer.h"

namespace hlwq {

class ResidentExperts final : public ExpertRunner {
 public:
  // `layers[i]`: the experts of MoE layer i, whose matrices lie in `memory` (one record an expert,
  // [up | down], each at a multiple of kRecordAlign). `backend` must outlive this.
  ResidentExperts(Backend& backend, std::vector<std::vector<Mlp>> layers,
                  std::vector<Buffer> memory);

  [[nodiscard]] Status run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) override;
  [[nodiscard]] size_t device_bytes() const override;

 private:
  Backend& backend_;
  std::vector<std::vector<Mlp>> layers_;
  std::vector<Buffer> memory_;
};

}  // namespace hlwq
