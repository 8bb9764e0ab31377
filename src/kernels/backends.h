#pragma once
// Which back ends this build has. Linked by api, tests and bench only.

#include <memory>
#include <string_view>

#include "base/result.h"
#include "ops/backend.h"

namespace hlwq {

struct BackendOptions {
  int threads = 0;  // 0: every CPU this process may use
  Compute compute = Compute::kInt8;
  std::string_view isa = "best";  // "best", "avx512", "avx2", "portable": for tests and bench
};

[[nodiscard]] Result<std::unique_ptr<Backend>> make_cpu_backend(const BackendOptions& options);

}  // namespace hlwq
