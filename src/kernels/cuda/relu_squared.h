#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hlwq::cuda {

// h[i] = relu(h[i])^2, in place.
void square_positive(float* h, int64_t count, cudaStream_t stream);

}  // namespace hlwq::cuda
