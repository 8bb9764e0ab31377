#pragma once
// From what a caller asks for to what runtime runs, and back.

#include <cstdint>

#include "hlwq/engine.h"
#include "runtime/generate.h"

namespace hlwq {

// `sampling` with every field set (Engine::resolve).
[[nodiscard]] SamplerSettings sampler_settings(const SamplingOptions& sampling, int64_t seed);
// Errors: kInvalidArgument, naming the flag.
[[nodiscard]] Status check_stop_strings(const std::vector<std::string>& stop);
[[nodiscard]] GenerateResult to_result(Generated generated, int64_t seed);

}  // namespace hlwq
