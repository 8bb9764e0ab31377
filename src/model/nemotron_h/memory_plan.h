#pragma once
// What a model needs of a back end's memory, asked before any weight is there.

#include "base/result.h"
#include "model/config.h"
#include "model/model.h"
#include "model/nemotron_h/placement.h"
#include "ops/backend.h"

namespace hlwq::nemotron_h {

// Checks the limits, reserves the back end's scratch and logs one line that says what will lie
// where. Where the device is not the host, refuses what it has no room for. Errors:
// kInvalidArgument (limits), kOutOfMemory, saying what was wanted for what, what is free and what
// would fit.
[[nodiscard]] Status prepare_memory(Backend& backend, const NemotronHConfig& config,
                                    const StepLimits& limits, const WeightBytes& weights,
                                    bool coded, const SequenceBytes& sequence_bytes);

}  // namespace hlwq::nemotron_h
