#pragma once
// What a model needs of a back end's memory, asked before any weight is there.

#include "base/result.h"
#include "model/config.h"
#include "model/expert_home.h"
#include "model/model.h"
#include "model/model_needs.h"
#include "model/placement.h"
#include "ops/backend.h"

namespace hlwq {

// Checks the limits, reserves the back end's scratch and logs one line that says what will lie
// where. Where the device is not the host, refuses what it has no room for. Returns the bytes of
// device memory that will be asked for when the weights are there: activations, sequences, and what
// the driver takes. Errors:
// kInvalidArgument (limits), kOutOfMemory, saying what was wanted for what, what is free and what
// would fit.
[[nodiscard]] Result<size_t> prepare_memory(Backend& backend, const ModelConfig& config,
                                            const StepLimits& limits, const WeightBytes& weights,
                                            bool coded, ExpertHome& home,
                                            const SequenceBytes& sequence_bytes);

// What prepare_memory would find, refusing nothing. Reserves the back end's scratch. Errors:
// kInvalidArgument (limits), kOutOfMemory (scratch).
[[nodiscard]] Result<ModelNeeds> measure_needs(Backend& backend, const ModelConfig& config,
                                               const StepLimits& limits, const WeightBytes& weights,
                                               bool coded, const SequenceBytes& sequence_bytes);

}  // namespace hlwq
