// The kernels for AMX int8 beside AVX-512 (Sapphire Rapids and later): integer products of several
// tokens; all else is the AVX-512 table. As in isa_avx2.cc, only functions of the unnamed namespace
// may be defined here.

#include <immintrin.h>

#include "kernels/cpu/kernels.h"
#include "quant/block.h"

#define HLWQ_INLINE inline __attribute__((always_inline))

namespace hlwq::cpu {
namespace {
namespace amx {

// Each file uses what stands above it.
// clang-format off
#include "kernels/cpu/lanes_avx512-inl.h"
#include "kernels/cpu/expand_avx512-inl.h"
#include "kernels/cpu/transpose_avx512-inl.h"
#include "kernels/cpu/tiles_amx-inl.h"
#include "kernels/cpu/integer_gemm_amx-inl.h"
// clang-format on

// From this many tokens on, tiles pay.
inline constexpr int64_t kAmxFrom = 4;

void integer_product(const Product& p, int64_t begin, int64_t end) {
  const Weights& w = p.weights;
  if (p.tokens < kAmxFrom || w.wide || w.blocks > kMostPacked) {
    return avx512_kernels().integer_product(p, begin, end);
  }
  if (w.kind == WeightKind::kTiled5) return integer_gemm_amx<Tiled5Bytes>(p, begin, end);
  integer_gemm_amx<PlaneBytes<false>>(p, begin, end);
}

CpuKernels make_table() {
  CpuKernels kernels = avx512_kernels();
  kernels.name = "amx";
  kernels.integer_product = integer_product;
  return kernels;
}

}  // namespace amx
}  // namespace

const CpuKernels& amx_kernels() {
  static const CpuKernels kKernels = amx::make_table();
  return kKernels;
}

}  // namespace hlwq::cpu
