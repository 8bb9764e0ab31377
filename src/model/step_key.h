#pragma once
// Keys of steps that a back end may record and replay (Backend::run_step).

#include <cstdint>

#include "model/model.h"

namespace hlwq {

// 0 for steps that are not worth recording: those with more than one token of a sequence. Else a
// hash of everything that the calls of the step depend on: model, number of tokens, rows of logits,
// and the addresses and strides of sequence memory and logits.
[[nodiscard]] uint64_t step_key(uint64_t model_number, const StepBatch& step,
                                const SequenceMemory& memory, const MutF32View& logits);

}  // namespace hlwq
