#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hlwq::cuda {

// Device pointers; strides in floats. xq null: no int8 form is wanted.
struct RmsNormRows {
  const float* x;
  int64_t x_stride;
  const float* weight;  // [width]
  float eps;
  int64_t rows, width;
  float* y;  // may be x
  int64_t y_stride;
  int8_t* xq;  // [rows, blocks * 128]
  float* sx;   // [rows, blocks]
  int32_t* sum;
  uint32_t* non_finite;
};
void rms_norm(const RmsNormRows& args, cudaStream_t stream);

}  // namespace hlwq::cuda
