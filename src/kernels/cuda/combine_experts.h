#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hlwq::cuda {

// Device pointers. y[t] = sum over ascending i of weights[t, i] * out[choice_pair[t, i]], then
// + shared[t] (may be null), then residual[t] += y[t] (may be null). Strides in floats.
struct CombineExperts {
  const float* out;  // [pairs, width]
  const int32_t* choice_pair;
  const float* weights;
  int64_t tokens, experts_used, width;
  const float* shared;  // [tokens, width]
  float* y;
  int64_t y_stride;
  float* residual;
  int64_t residual_stride;
};
void combine_experts(const CombineExperts& args, cudaStream_t stream);

}  // namespace hlwq::cuda
