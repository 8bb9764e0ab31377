#pragma once
// Where a model's routed experts live, which whoever loads it decides. The loader asks for memory
// of each MoE layer, fills it, and hands it over to be run.

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/expert_runner.h"
#include "ops/backend.h"
#include "tensor/buffer.h"

namespace hlwq {

// The routed experts of a model, loaded: `layers[i]` are those of MoE layer i, whose matrices lie
// in memory[i], one record an expert, [up | down], each at a multiple of kRecordAlign, records one
// after the other.
struct LoadedExperts {
  std::vector<std::vector<Mlp>> layers;
  int64_t used = 0;  // of each layer by a token, at most
  std::vector<Buffer> memory;
};

class ExpertHome {
 public:
  virtual ~ExpertHome() = default;
  // Told before anything is asked: what the experts take, and what else will be asked for on the
  // device that is not there yet. Errors: kOutOfMemory (no place for them anywhere).
  [[nodiscard]] virtual Status choose(const Backend& backend, size_t expert_bytes,
                                      size_t other_bytes) = 0;
  // Whether the records are to lie in the back end's memory.
  [[nodiscard]] virtual bool on_device() const = 0;
  // Whether ops of that back end read and write the memory it gave, wherever it lies.
  [[nodiscard]] virtual bool device_reaches() const = 0;
  // Memory for the records of one MoE layer. Errors: kOutOfMemory, naming `what`.
  [[nodiscard]] virtual Result<Buffer> allocate(Backend& backend, size_t bytes,
                                                std::string_view what) = 0;
  // What runs them. `later_bytes`: device memory that will still be asked for after this. Errors:
  // kOutOfMemory, kUnsupported (as Backend::check_experts).
  [[nodiscard]] virtual Result<std::unique_ptr<ExpertRunner>> make_runner(Backend& backend,
                                                                          LoadedExperts experts,
                                                                          size_t later_bytes) = 0;
};

}  // namespace hlwq
