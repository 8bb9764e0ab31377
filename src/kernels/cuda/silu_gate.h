#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hlwq::cuda {

// Rows [rows, cols], strides in floats. out = silu(gate) * up; with xq also as int8 blocks
// (ops/matrix.h, QuantizedView), where *non_finite becomes 1 when a block is not finite. out may be
// gate or up.
struct SiluGateRows {
  const float* gate = nullptr;
  int64_t gate_stride = 0;
  const float* up = nullptr;
  int64_t up_stride = 0;
  int64_t rows = 0, cols = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  int8_t* xq = nullptr;
  float* sx = nullptr;
  int32_t* sum = nullptr;
  uint32_t* non_finite = nullptr;
};

void silu_gate(const SiluGateRows& call, cudaStream_t stream);

}  // namespace hlwq::cuda
