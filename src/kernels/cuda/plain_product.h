#pragma once
// Products with plain matrices, in one order of sums for any number of rows.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/product.h"

namespace hlwq::cuda {

enum class PlainType { kF32, kF16, kBF16 };

// Rows of FP32 activations, `stride` floats apart.
struct PlainRows {
  const float* x = nullptr;
  int64_t stride = 0, cols = 0;
};

// With experts.table null: every target against `tokens` rows of x. Else the pairs of `experts`,
// whose matrices lie at multiples of 16 bytes (expert_table checks it). All of one type.
void plain_product(const PlainRows& x, int64_t tokens, const ProductTargets& targets,
                   PlainType type, const ExpertPairs& experts, cudaStream_t stream);

}  // namespace hlwq::cuda
