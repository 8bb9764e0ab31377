#include "api/engine_limits.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "runtime/session.h"

namespace hlwq {
namespace {

constexpr int64_t kDefaultContext = 4096;

}  // namespace

int64_t choose_context(const EngineOptions& options, const ModelConfig& config) {
  const int64_t most = config.max_positions;
  if (options.context == 0) return most > 0 ? std::min(kDefaultContext, most) : kDefaultContext;
  if (most > 0 && options.context > most)
    log(LogLevel::kWarning,
        fmt::format("--context {}: the model was made for {} tokens", options.context, most));
  return options.context;
}

// A row of logits costs the model one hidden vector, so every token of a step may have one.
StepLimits step_limits(const EngineOptions& options, int64_t context) {
  const int64_t tokens = std::max(options.prefill_chunk, options.step_tokens);
  return {.tokens = tokens, .logit_rows = tokens, .context = context};
}

SequenceBytes sequence_bytes_of(const EngineOptions& options, const Backend& device) {
  return [&device, sequences = options.sequences](const StateShape& shape, bool coded,
                                                  int64_t context) {
    return SequencePool::bytes_for(
        shape,
        {.sequences = sequences, .context = context, .kv_dtype = default_kv_dtype(coded, device)});
  };
}

}  // namespace hlwq
