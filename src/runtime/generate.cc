#include "runtime/generate.h"

#include <optional>

#include "base/check.h"
#include "runtime/scheduler.h"

namespace hlwq {
namespace {

double rate(int64_t tokens, double seconds) {
  return tokens > 0 && seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
}

}  // namespace

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

double Generated::prompt_rate() const {
  return rate(prompt_tokens - cached_tokens, prompt_seconds);
}
double Generated::decode_rate() const { return rate(decode_steps, decode_seconds); }

Result<Generated> generate(Session& session, std::span<const int32_t> prompt,
                           const GenerateSettings& settings) {
  HLWQ_TRY_ASSIGN(
      Scheduler scheduler,
      Scheduler::create(session, {.sequences = 1, .step_tokens = session.options().prefill_chunk}));
  std::optional<Result<Generated>> out;
  HLWQ_TRY(scheduler.submit({prompt.begin(), prompt.end()}, settings,
                            [&](Result<Generated> ended) { out = std::move(ended); }));
  while (!out) {
    const bool stepped = scheduler.step();
    HLWQ_CHECK(stepped || out);
  }
  return std::move(*out);
}

}  // namespace hlwq
