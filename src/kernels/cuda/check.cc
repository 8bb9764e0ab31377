#include "kernels/cuda/check.h"

#include <fmt/format.h>

#include <stdexcept>

namespace hlwq::cuda {

void throw_cuda_error(cudaError_t error, const char* call, const char* file, int line) {
  // Errors of one call are remembered until asked for; the next check is about its own call.
  static_cast<void>(cudaGetLastError());
  throw std::runtime_error(fmt::format("{}:{}: {}: {} ({})", file, line, call,
                                       cudaGetErrorString(error), cudaGetErrorName(error)));
}

}  // namespace hlwq::cuda
