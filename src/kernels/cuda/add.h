#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hlwq::cuda {

// y[t] += x[t] for rows of `cols` floats, strides in floats.
void add_rows(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y,
              int64_t y_stride, cudaStream_t stream);

}  // namespace hlwq::cuda
