#pragma once
// Products of coded matrices without int8 rounding: decoded levels times FP32 rotated activations.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/coded_form.h"
#include "kernels/cuda/product.h"

namespace hlwq::cuda {

// x [rows, cols], `stride` floats apart, by blocks of 128 through the unnormalized butterfly into
// rotated [rows, blocks * 128]. *non_finite becomes 1 when a block is not finite.
void rotate_rows(const float* x, int64_t stride, int64_t rows, int64_t cols, float* rotated,
                 uint32_t* non_finite, cudaStream_t stream);

// Of what rotate_rows made, at a multiple of 16 bytes. With experts.table null: every target
// against `tokens` rows. Else the pairs of `experts`. All matrices have the same form.
void exact_product(const float* rotated, int64_t blocks, int64_t tokens,
                   const ProductTargets& targets, const CodedForm& form, const ExpertPairs& experts,
                   cudaStream_t stream);

}  // namespace hlwq::cuda
