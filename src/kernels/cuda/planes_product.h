#pragma once
// Integer products with kPlanes matrices of any width and table, bit for bit those of
// ops/integer_dot.h.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/coded_form.h"
#include "kernels/cuda/product.h"

namespace hlwq::cuda {

// With experts.table null: every target against `tokens` rows of x. Else the pairs of `experts`.
// All matrices have the same form, kPlanes.
void planes_product(const QuantizedRows& x, int64_t tokens, const ProductTargets& targets,
                    const CodedForm& form, const ExpertPairs& experts, cudaStream_t stream);

}  // namespace hlwq::cuda
