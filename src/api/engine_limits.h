#pragma once
// What engine options mean for a model's steps and the memory of its sequences.

#include <cstdint>

#include "hlwq/options.h"
#include "model/model.h"
#include "ops/backend.h"
#include "runtime/sequence_pool.h"

namespace hlwq {

// Tokens. Logs a warning for more than the model was made for.
[[nodiscard]] int64_t choose_context(const EngineOptions& options, const ModelConfig& config);
[[nodiscard]] StepLimits step_limits(const EngineOptions& options, int64_t context);
// The KV cache of a model, whose matrices are `coded` or not: what was asked for, else the default.
[[nodiscard]] KvForm kv_form_of(const EngineOptions& options, bool coded, const Backend& device);
// Errors: as check_kv_form, for a model with attention.
[[nodiscard]] Status check_kv_options(const EngineOptions& options, const ModelConfig& config);
// Of the sequences that are kept side by side. `device` must outlive the result.
[[nodiscard]] SequenceBytes sequence_bytes_of(const EngineOptions& options, const Backend& device);

}  // namespace hlwq
