// The kernels for AVX-512 with VNNI and VBMI (Ice Lake, Zen 4 and later). As in isa_avx2.cc, only
// functions of the unnamed namespace may be defined here.

#include <immintrin.h>

#include "kernels/cpu/kernels.h"
#include "quant/activation.h"
#include "quant/block.h"

#define HLWQ_INLINE inline __attribute__((always_inline))

namespace hlwq::cpu {
namespace {
namespace avx512 {

// Each file uses what stands above it.
// clang-format off
#include "kernels/cpu/lanes_avx512-inl.h"
#include "kernels/cpu/vector_math-inl.h"
#include "kernels/cpu/rows-inl.h"
#include "kernels/cpu/plain_product-inl.h"
#include "kernels/cpu/decode_avx2-inl.h"
#include "kernels/cpu/exact_product-inl.h"
#include "kernels/cpu/embed-inl.h"
#include "kernels/cpu/expand_avx512-inl.h"
#include "kernels/cpu/integer_gemv_avx512-inl.h"
#include "kernels/cpu/transpose_avx512-inl.h"
#include "kernels/cpu/weight_tile_avx512-inl.h"
#include "kernels/cpu/integer_gemm-inl.h"
#include "kernels/cpu/mamba-inl.h"
#include "kernels/cpu/kv_levels_avx512-inl.h"
#include "kernels/cpu/attention-inl.h"
// clang-format on

// From this many tokens on, transposing the weights pays (Zen 5, 14848 x 2688).
inline constexpr int64_t kGemmFrom = 8;

template <class Bytes>
void integer_product_of(const Product& p, int64_t begin, int64_t end) {
  if (p.tokens < kGemmFrom) return integer_gemv<Bytes>(p, begin, end);
  integer_gemm<ByteTile<Bytes>>(p, begin, end);
}

void integer_product(const Product& p, int64_t begin, int64_t end) {
  if (p.weights.kind == WeightKind::kTiled5) return integer_product_of<Tiled5Bytes>(p, begin, end);
  if (p.weights.wide) return integer_product_of<PlaneBytes<true>>(p, begin, end);
  integer_product_of<PlaneBytes<false>>(p, begin, end);
}

#include "kernels/cpu/table-inl.h"

}  // namespace avx512
}  // namespace

const CpuKernels& avx512_kernels() {
  static constexpr CpuKernels kKernels = avx512::make_table("avx512");
  return kKernels;
}

}  // namespace hlwq::cpu
