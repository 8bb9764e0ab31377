// The kernels in plain C++, for processors without the vector instructions and as the plainest form
// of what the others compute.

#include "kernels/cpu/kernels.h"
#include "quant/activation.h"
#include "quant/block.h"

#define HLWQ_INLINE inline

namespace hlwq::cpu {
namespace {
namespace portable {

// Each file uses what stands above it.
// clang-format off
#include "kernels/cpu/lanes_portable-inl.h"
#include "kernels/cpu/vector_math-inl.h"
#include "kernels/cpu/rows-inl.h"
#include "kernels/cpu/plain_product-inl.h"
#include "kernels/cpu/decode_portable-inl.h"
#include "kernels/cpu/exact_product-inl.h"
#include "kernels/cpu/embed-inl.h"
#include "kernels/cpu/dot_rows_portable-inl.h"
#include "kernels/cpu/weight_tile_i16-inl.h"
#include "kernels/cpu/integer_gemm-inl.h"
#include "kernels/cpu/mamba-inl.h"
#include "kernels/cpu/kv_levels_portable-inl.h"
#include "kernels/cpu/attention-inl.h"
// clang-format on

void integer_product(const Product& p, int64_t begin, int64_t end) {
  integer_gemm<WeightTile>(p, begin, end);
}

#include "kernels/cpu/table-inl.h"

}  // namespace portable
}  // namespace

const CpuKernels& portable_kernels() {
  static constexpr CpuKernels kKernels = portable::make_table("portable");
  return kKernels;
}

}  // namespace hlwq::cpu
