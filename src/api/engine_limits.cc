#include "api/engine_limits.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "runtime/session.h"

namespace hlwq {
namespace {

constexpr int64_t kDefaultContext = 4096;

KvForm asked_kv_form(const EngineOptions& options) {
  const auto bits_of = [&](int64_t own) {
    return static_cast<int>(own == 0 ? options.kv_cache_nbits : own);
  };
  return {.key_bits = bits_of(options.k_cache_nbits), .value_bits = bits_of(options.v_cache_nbits)};
}

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

KvForm kv_form_of(const EngineOptions& options, bool coded, const Backend& device) {
  const KvForm asked = asked_kv_form(options);
  return asked.coded() ? asked : default_kv_form(coded, device);
}

Status check_kv_options(const EngineOptions& options, const ModelConfig& config) {
  const KvForm kv = asked_kv_form(options);
  if (!kv.coded() || config.count(LayerKind::kAttention) == 0) return {};
  return check_kv_form(kv, config.attention);
}

SequenceBytes sequence_bytes_of(const EngineOptions& options, const Backend& device) {
  return [&device, options](const StateShape& shape, bool coded, int64_t context) {
    return SequencePool::bytes_for(shape, {.sequences = options.sequences,
                                           .context = context,
                                           .kv = kv_form_of(options, coded, device),
                                           .step_tokens = options.prefill_chunk});
  };
}

}  // namespace hlwq
