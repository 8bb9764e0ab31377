#include "api/choose_backend.h"

#include <fmt/format.h>

#include "base/log.h"
#include "kernels/backends.h"

namespace hlwq {

Result<std::unique_ptr<Backend>> choose_backend(const EngineOptions& options) {
  const BackendOptions wanted = {
      .threads = static_cast<int>(options.threads),
      .compute = options.compute == "exact" ? Compute::kExact : Compute::kInt8};
  if (options.device == "reference") return make_reference_backend(wanted.compute);
  if (options.device == "cpu") return make_cpu_backend(wanted);

  auto cuda = make_cuda_backend(wanted);
  if (options.device == "cuda") {
    if (!cuda) return fail(cuda.error().code, "--device cuda: " + cuda.error().message);
    return cuda;
  }
  if (cuda) {
    log(LogLevel::kInfo, fmt::format("device: {}", (*cuda)->description()));
    return cuda;
  }
  HLWQ_TRY_ASSIGN(auto cpu, make_cpu_backend(wanted));
  log(LogLevel::kInfo, fmt::format("device: {}, because CUDA cannot be used: {}",
                                   cpu->description(), cuda.error().message));
  return cpu;
}

}  // namespace hlwq
