#pragma once
// What back ends that compute in host memory have in common: their memory is the caller's, ops run
// when they are called, and nothing runs beside them.

#include <cstring>
#include <vector>

#include "ops/backend.h"

namespace hlwq {

class HostBackend : public Backend {
 public:
  [[nodiscard]] Device device() const override { return Device::kHost; }
  [[nodiscard]] Status check_experts(std::span<const Mlp> /*experts*/) const override { return {}; }

  [[nodiscard]] Result<Buffer> pin(std::byte* host, size_t bytes) override {
    return Buffer(host, bytes, Device::kHost, [](void*, size_t) noexcept {});
  }
  void copy_beside(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void record(Queue /*queue*/, int /*fence*/) override {}
  void wait(Queue /*queue*/, int /*fence*/) override {}
  void wait_on_host(int /*fence*/) override {}

  void upload(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  // Nothing is recorded.
  [[nodiscard]] Status run_step(const StepTokens& /*tokens*/, uint64_t /*key*/,
                                const std::function<Status()>& issue) override {
    return issue();
  }
  void synchronize() override {}

  void place_experts(const PlaceExpertsArgs& args) override {
    const ExpertCache& cache = args.cache;
    needed_.resize(static_cast<size_t>(cache.shape.experts));
    place_experts_on_host(cache, args.layer, args.ids, args.choices, args.table, needed_.data());
    for (int32_t i = 0; i < *cache.copy_count; ++i)
      copy(cache.copies[i].to, cache.copies[i].from,
           static_cast<size_t>(cache.records[args.layer].bytes));
  }

 protected:
  // Expert e where it lies now.
  static Mlp expert_at(const ExpertsArgs& args, size_t e) {
    Mlp expert = args.experts[e];
    if (args.table != nullptr) {
      expert.up.data = args.table[e].up;
      expert.down.data = args.table[e].down;
    }
    return expert;
  }

 private:
  static void copy(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }

  std::vector<uint8_t> needed_;  // of place_experts
};

}  // namespace hlwq
