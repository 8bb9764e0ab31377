#pragma once
// The model from its weights, with its routed experts at home where they were loaded.

#include <memory>

#include "base/result.h"
#include "model/expert_home.h"
#include "model/model.h"
#include "model/weights.h"
#include "ops/backend.h"

namespace hlwq {

// `weights` are complete and their experts in memory of `home`; `later_bytes` is what
// prepare_memory said for these limits. Errors: as ExpertHome::make_runner and LayerStack::create.
[[nodiscard]] Result<std::unique_ptr<Model>> assemble(Backend& backend, ModelConfig config,
                                                      ModelWeights weights, ExpertHome& home,
                                                      size_t later_bytes, const StepLimits& limits);

}  // namespace hlwq
