#include "api/request_settings.h"

#include <algorithm>

namespace hlwq {

SamplerSettings sampler_settings(const SamplingOptions& sampling, int64_t seed) {
  return {.temperature = *sampling.temperature,
          .top_k = *sampling.top_k,
          .top_p = *sampling.top_p,
          .min_p = *sampling.min_p,
          .repeat_penalty = *sampling.repeat_penalty,
          .repeat_window = *sampling.repeat_window,
          .seed = static_cast<uint64_t>(seed)};
}

Status check_stop_strings(const std::vector<std::string>& stop) {
  const bool has_empty =
      std::any_of(stop.begin(), stop.end(), [](const auto& text) { return text.empty(); });
  return has_empty ? fail(ErrorCode::kInvalidArgument, "--stop: got an empty string") : Status{};
}

GenerateResult to_result(Generated generated, int64_t seed) {
  const auto count = static_cast<int64_t>(generated.ids.size());
  return {.text = std::move(generated.text),
          .ids = std::move(generated.ids),
          .prompt_tokens = generated.prompt_tokens,
          .cached_tokens = generated.cached_tokens,
          .generated_tokens = count,
          .prompt_tok_s = generated.prompt_rate(),
          .decode_tok_s = generated.decode_rate(),
          .wait_s = generated.wait_seconds,
          .prompt_s = generated.prompt_seconds,
          .finish_reason = std::string(name_of(generated.reason)),
          .seed = seed};
}

}  // namespace hlwq
