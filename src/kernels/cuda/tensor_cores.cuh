#pragma once
// FP16 matrix products of a warp (sm_80 and later): D[16][8] += A[16][16] B[16][8], FP32 sums.
// With g = lane / 4 and t = lane % 4, a lane holds
//   A  a[0] (g, 2t..), a[1] (g + 8, 2t..), a[2] (g, 2t + 8..), a[3] (g + 8, 2t + 8..)
//   B  b0 (2t.., g), b1 (2t + 8.., g)          D  d[0..1] (g, 2t..), d[2..3] (g + 8, 2t..)
// where ".." is a pair of neighbours, the first in the low half.

#include <cuda_fp16.h>

#include <cstdint>

namespace hlwq::cuda {

__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8x8 matrices of FP16 from shared memory; lane l names row l % 8 of matrix l / 8 (16 bytes,
// aligned). r[i] of a lane is elements (lane / 4, 2 (lane % 4)..) of matrix i.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const __half* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// The same, each matrix transposed: elements (2 (lane % 4).., lane / 4).
__device__ __forceinline__ void load_transposed(uint32_t (&r)[4], const __half* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// A pair of FP16 as a register.
__device__ __forceinline__ uint32_t bits_of(__half2 pair) {
  uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}

// a and b as FP16 pairs high + low, with about 22 bits of each together.
struct SplitPair {
  uint32_t high, low;
};
__device__ __forceinline__ SplitPair split_pair(float a, float b) {
  const __half2 high = __floats2half2_rn(a, b);
  const float2 rounded = __half22float2(high);
  return {bits_of(high), bits_of(__floats2half2_rn(a - rounded.x, b - rounded.y))};
}

}  // namespace hlwq::cuda
