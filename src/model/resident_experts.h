#pragma once
// Routed experts that all lie in the back end's memory.

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/expert_home.h"
#include "model/expert_runner.h"
#include "ops/backend.h"
#include "tensor/buffer.h"

namespace hlwq {

class ResidentExperts final : public ExpertRunner {
 public:
  // `backend` must outlive this. Errors: kOutOfMemory, and as Backend::check_experts.
  static Result<std::unique_ptr<ResidentExperts>> create(Backend& backend, LoadedExperts experts);

  [[nodiscard]] Status run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) override;
  [[nodiscard]] bool repeats(int64_t /*tokens*/) const override { return true; }
  [[nodiscard]] size_t device_bytes() const override;

 private:
  ResidentExperts(Backend& backend, LoadedExperts experts)
      : backend_(backend), experts_(std::move(experts)) {}

  Backend& backend_;
  LoadedExperts experts_;
  std::vector<Buffer> tables_;  // of each layer: ExpertAddress [experts]; none on the host
};

class ResidentHome final : public ExpertHome {
 public:
  [[nodiscard]] Status choose(const Backend& /*backend*/, size_t /*expert_bytes*/,
                              size_t /*other_bytes*/) override {
    return {};
  }
  [[nodiscard]] bool on_device() const override { return true; }
  [[nodiscard]] bool device_reaches() const override { return true; }
  [[nodiscard]] Result<Buffer> allocate(Backend& backend, size_t bytes,
                                        std::string_view what) override {
    return backend.allocate(bytes, what);
  }
  [[nodiscard]] Result<std::unique_ptr<ExpertRunner>> make_runner(Backend& backend,
                                                                  LoadedExperts experts,
                                                                  size_t later_bytes) override;
};

}  // namespace hlwq
