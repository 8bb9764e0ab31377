#pragma once
// Which back ends this build has. Linked by api, tests and bench only.

#include <memory>
#include <string_view>

#include "base/result.h"
#include "ops/backend.h"
#include "ops/host_backend.h"

namespace hlwq {

struct BackendOptions {
  int threads = 0;  // 0: one a physical core that this process may use
  Compute compute = Compute::kInt8;
  std::string_view isa = "best";  // "best", "amx", "avx512", ...: for tests and bench
};

[[nodiscard]] Result<std::unique_ptr<HostBackend>> make_cpu_backend(const BackendOptions& options);

// Errors: kUnsupported (this build has no CUDA; no GPU, or one older than sm_80), saying which.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_cuda_backend(const BackendOptions& options);
[[nodiscard]] bool built_with_cuda();

// Host memory, zeroed, that every back end of this build reads and writes at the same address:
// pinned and mapped where there is a GPU, else plain. For tests. Errors: kOutOfMemory.
[[nodiscard]] Result<Buffer> allocate_shared(size_t bytes, std::string_view what);

}  // namespace hlwq
