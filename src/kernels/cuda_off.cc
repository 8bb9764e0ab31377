// Linked instead of kernels/cuda in a build without CUDA.

#include "kernels/backends.h"

namespace hlwq {

Result<std::unique_ptr<Backend>> make_cuda_backend(const BackendOptions&) {
  return fail(ErrorCode::kUnsupported, "built without CUDA");
}

bool built_with_cuda() { return false; }

Result<Buffer> allocate_shared(size_t bytes, std::string_view what) {
  return allocate_host(bytes, what);
}

}  // namespace hlwq
