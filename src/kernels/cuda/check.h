#pragma once
// A CUDA call that fails means a dead device or a mistake of ours: it throws, and is caught at the
// engine's edge. Allocation is the exception: memory.h reports it as a value.

#include <cuda_runtime_api.h>

namespace hlwq::cuda {

// Throws std::runtime_error naming the call, the place and the error. Clears the error.
[[noreturn]] void throw_cuda_error(cudaError_t error, const char* call, const char* file, int line);

inline void check(cudaError_t error, const char* call, const char* file, int line) {
  if (error != cudaSuccess) throw_cuda_error(error, call, file, line);
}

}  // namespace hlwq::cuda

#define HLWQ_CUDA(call) ::hlwq::cuda::check((call), #call, __FILE__, __LINE__)
