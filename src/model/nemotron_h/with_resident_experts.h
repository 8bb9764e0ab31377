#pragma once
// A model whose routed experts all lie on the back end's device.

#include <memory>

#include "base/result.h"
#include "model/model.h"
#include "model/nemotron_h/weights.h"
#include "ops/backend.h"

namespace hlwq::nemotron_h {

// `weights` are complete, and prepare_memory was asked for these limits. Errors: as
// ResidentExperts::create and NemotronH::create.
[[nodiscard]] Result<std::unique_ptr<Model>> with_resident_experts(Backend& backend,
                                                                   NemotronHConfig config,
                                                                   ModelWeights weights,
                                                                   const StepLimits& limits);

}  // namespace hlwq::nemotron_h
