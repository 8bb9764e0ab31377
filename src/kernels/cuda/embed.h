#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/coded_form.h"
#include "kernels/cuda/plain_product.h"

namespace hlwq::cuda {

struct EmbedTable {
  const std::byte* data = nullptr;
  int64_t rows = 0, cols = 0;
  bool coded = false;
  PlainType type = PlainType::kF32;  // plain
  CodedForm form;                    // coded
};

// y[t] = table[ids[t]]; ids on the device, inside the table.
void embed_rows(const int32_t* ids, int64_t tokens, const EmbedTable& table, float* y,
                int64_t y_stride, cudaStream_t stream);

}  // namespace hlwq::cuda
