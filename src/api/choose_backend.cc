#include "api/choose_backend.h"

#include <fmt/format.h>

#include "base/log.h"
#include "kernels/backends.h"

namespace hlwq {
namespace {

// Options about the GPU's memory have no meaning on a CPU; taking them in silence would let a
// person believe that they work.
Status refuse_gpu_options(const EngineOptions& options) {
  const EngineOptions defaults;
  const auto refuse = [](const char* flag, const std::string& value) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("--{} {} needs --device cuda, which this build does not have", flag, value));
  };
  if (options.vram != defaults.vram) return refuse("vram", options.vram);
  if (options.moe_expert_cache_size != defaults.moe_expert_cache_size)
    return refuse("moe-expert-cache-size", options.moe_expert_cache_size);
  if (options.cache_policy != defaults.cache_policy)
    return refuse("cache-policy", options.cache_policy);
  if (options.cpu_experts != defaults.cpu_experts)
    return refuse("cpu-experts", options.cpu_experts);
  return {};
}

}  // namespace

Result<std::unique_ptr<Backend>> choose_backend(const EngineOptions& options) {
  if (options.device == "cuda")
    return fail(ErrorCode::kUnsupported, "--device cuda: built without CUDA");
  HLWQ_TRY(refuse_gpu_options(options));
  if (options.kv_cache_nbits != 16)
    return fail(ErrorCode::kUnsupported,
                fmt::format("--kv-cache-nbits {}: this build keeps the KV cache at 16 bits",
                            options.kv_cache_nbits));
  const Compute compute = options.compute == "exact" ? Compute::kExact : Compute::kInt8;
  if (options.device == "reference") return make_reference_backend(compute);
  HLWQ_TRY_ASSIGN(auto backend, make_cpu_backend({.threads = static_cast<int>(options.threads),
                                                  .compute = compute}));
  if (options.device == "auto")
    log(LogLevel::kInfo,
        fmt::format("device: cpu ({}), because this build has no CUDA", backend->description()));
  return backend;
}

}  // namespace hlwq
