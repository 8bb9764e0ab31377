// The kernels for AVX2 with FMA and F16C. Compiled with those flags: only functions of the unnamed
// namespace may be defined here, or the linker could take this file's copy of a shared inline
// function for processors that lack them.

#include <immintrin.h>

#include "kernels/cpu/kernels.h"
#include "quant/activation.h"
#include "quant/block.h"

#define HLWQ_INLINE inline __attribute__((always_inline))

namespace hlwq::cpu {
namespace {
namespace avx2 {

// Each file uses what stands above it.
// clang-format off
#include "kernels/cpu/lanes_avx2-inl.h"
#include "kernels/cpu/vector_math-inl.h"
#include "kernels/cpu/rows-inl.h"
#include "kernels/cpu/plain_product-inl.h"
#include "kernels/cpu/decode_avx2-inl.h"
#include "kernels/cpu/exact_product-inl.h"
#include "kernels/cpu/embed-inl.h"
#include "kernels/cpu/dot_rows_avx2-inl.h"
#include "kernels/cpu/weight_tile_i16-inl.h"
#include "kernels/cpu/integer_gemm-inl.h"
#include "kernels/cpu/tiled5_gemv_avx2-inl.h"
#include "kernels/cpu/mamba-inl.h"
#include "kernels/cpu/kv_levels_avx2-inl.h"
#include "kernels/cpu/attention-inl.h"
// clang-format on

void integer_product(const Product& p, int64_t begin, int64_t end) {
  if (p.tokens == 1 && p.weights.kind == WeightKind::kTiled5) return tiled5_gemv(p, begin, end);
  integer_gemm<WeightTile>(p, begin, end);
}

#include "kernels/cpu/table-inl.h"

}  // namespace avx2
}  // namespace

const CpuKernels& avx2_kernels() {
  static constexpr CpuKernels kKernels = avx2::make_table("avx2");
  return kKernels;
}

}  // namespace hlwq::cpu
