#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "hlwq/options.h"
#include "ops/backend.h"
#include "ops/expert_cache.h"
#include "runtime/experts/offload_home.h"

namespace hlwq {

// `name` is one of the choices of --cache-policy.
[[nodiscard]] CachePolicy cache_policy_of(const std::string& name);

// The CPU's part in multiplying experts that the GPU does not hold.
struct CpuChoice {
  bool helps = false;
  std::optional<double> share = {};  // as HostShareOptions::fixed
  int threads = 0;

  [[nodiscard]] Result<std::unique_ptr<HostBackend>> make() const;  // null: it has none
};
// Errors: kInvalidArgument (a value, naming the flag), kUnsupported (a share with --compute exact).
[[nodiscard]] Result<CpuChoice> choose_cpu(const EngineOptions& options);

// Where the routed experts go by these options; null: with everything else. `model_path`: the
// folder that learned use is kept in, empty without one. Errors: kInvalidArgument (a value, naming
// the flag), kUnsupported (no device memory to budget).
[[nodiscard]] Result<std::unique_ptr<OffloadHome>> choose_experts(const EngineOptions& options,
                                                                  const Backend& backend,
                                                                  const std::string& model_path);

}  // namespace hlwq
