#pragma once
// How fast a device decodes a model that is not there: small random models with the same layers are
// made and timed.

#include <cstdint>

#include "api/choose_experts.h"
#include "api/plan_rows.h"
#include "base/result.h"
#include "model/config.h"
#include "ops/backend.h"

namespace hlwq {

struct CalibrationOptions {
  int64_t batch = 1;         // sequences side by side
  int64_t device_bytes = 0;  // that a small model and all else on the device may take
  CpuChoice cpu = {};
};

// For a model with this configuration whose matrices are coded with 5 bits, at the beginning of its
// sequences. Of its layers the first few are made, and about twice as many; what they differ by is
// the time of a layer. Errors: as make_synthetic_model.
[[nodiscard]] Result<PlanSpeed> calibrate(Backend& backend, const ModelConfig& config,
                                          const CalibrationOptions& options);

}  // namespace hlwq
