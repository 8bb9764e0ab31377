#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/shapes.h"

namespace hlwq::cuda {

// Device pointers; strides in floats. Table as in ops/backend.h, RotaryArgs.
struct RotaryCall {
  int heads = 0, kv_heads = 0, head_dim = 0;
  const Segment* segments = nullptr;
  const int32_t* token_segment = nullptr;
  int64_t tokens = 0;
  const float* table = nullptr;
  float *q = nullptr, *k = nullptr;
  int64_t q_stride = 0, k_stride = 0;
};

// Turns the pairs of every head of q and k in place.
void rotary(const RotaryCall& call, cudaStream_t stream);

}  // namespace hlwq::cuda
