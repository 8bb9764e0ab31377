#pragma once
// Routed experts that all lie in the back end's memory.

#include <memory>
#include <vector>

#include "base/result.h"
#include "model/expert_runner.h"
#include "ops/backend.h"
#include "tensor/buffer.h"

namespace hlwq {

class ResidentExperts final : public ExpertRunner {
 public:
  // `layers[i]`: the experts of MoE layer i, whose matrices lie in `memory` (one record an expert,
  // [up | down], each at a multiple of kRecordAlign). `backend` must outlive this. Errors: as
  // Backend::expert_table.
  static Result<std::unique_ptr<ResidentExperts>> create(Backend& backend,
                                                         std::vector<std::vector<Mlp>> layers,
                                                         std::vector<Buffer> memory);

  [[nodiscard]] Status run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) override;
  [[nodiscard]] size_t device_bytes() const override;

 private:
  ResidentExperts(Backend& backend, std::vector<std::vector<Mlp>> layers,
                  std::vector<Buffer> memory);

  Backend& backend_;
  std::vector<std::vector<Mlp>> layers_;
  std::vector<Buffer> memory_;
  std::vector<Buffer> tables_;  // of each layer, Backend::expert_table
};

}  // namespace hlwq
