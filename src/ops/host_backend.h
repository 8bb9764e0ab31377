#pragma once
// What back ends that compute in host memory have in common: their memory is the caller's, ops run
// when they are called, and nothing runs beside them.

#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
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

  void place_experts(const PlaceExpertsArgs& args) override;

  // Its threads; null: it has none of its own.
  [[nodiscard]] virtual ThreadPool* pool() { return nullptr; }
  // What a device that has no room for these experts wants of them. Of an expert's tokens the
  // pairs follow each other.
  struct OutputsArgs {
    QuantizedView x;               // [tokens]
    std::span<const Mlp> experts;  // coded, of one shape
    const int32_t* begin;          // [experts + 1] first pair of each
    const int32_t* tokens;         // [pairs] row of x
    MutF32View y;                  // out [pairs, width]
  };
  virtual void expert_outputs(const OutputsArgs& args) = 0;

 protected:
  // The answer to place_experts, for an op that is not in parts.
  void put_answer(const ExpertsArgs& args) {
    if (args.mail != nullptr)
      put_experts(args,
                  {.choices = args.mail->choices, .y = args.mail->y, .rows = *args.mail->rows});
  }
  // Expert e where it lies now; without data when its outputs will be put.
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

  // Hands the experts that place_experts left to the host over, and waits for its answer.
  void ask_host(const PlaceExpertsArgs& args);

  std::vector<uint8_t> needed_;  // of place_experts
};

}  // namespace hlwq
