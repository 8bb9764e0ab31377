#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "hlwq/options.h"
#include "ops/backend.h"
#include "ops/expert_cache.h"
#include "runtime/experts/offload_home.h"

namespace hlwq {

// `name` is one of the choices of --cache-policy.
[[nodiscard]] CachePolicy cache_policy_of(const std::string& name);

// Where the routed experts go by these options; null: with everything else. `model_path`: the
// folder that learned use is kept in, empty without one. Errors: kInvalidArgument (a value, naming
// the flag), kUnsupported (no device memory to budget).
[[nodiscard]] Result<std::unique_ptr<OffloadHome>> choose_experts(const EngineOptions& options,
                                                                  const Backend& backend,
                                                                  const std::string& model_path);

}  // namespace hlwq
