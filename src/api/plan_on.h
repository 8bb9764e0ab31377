#pragma once
// hlwq::plan with the back end given.

#include "base/result.h"
#include "hlwq/plan.h"
#include "ops/backend.h"

namespace hlwq {

// Errors: as plan(), with kUnsupported for a back end on the host.
[[nodiscard]] Result<PlanResult> plan_on(Backend& backend, const PlanRequest& request);

}  // namespace hlwq
