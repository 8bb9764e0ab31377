#pragma once
// From kTiled5 codes (quant/layout.h) to int8 operands of the tensor cores, in registers.
//
// A lane holds 16 bytes of magnitude indices and one word of signs: the 32 weights of quarter
// s = lane % 4 of row lane / 4 of a tile. Within a block the order of the sum is free (integers),
// so step j of four takes weights 8j .. 8j+7 of every quarter: exactly one 32-bit word of indices a
// lane, and 8 consecutive bytes of xq.
//
// Lookup: prmt.b32 picks four bytes of eight by three bits of a nibble; with the nibble's fourth
// bit set it gives the byte's sign spread, which is 0 for magnitudes. So one prmt on the lower and
// one on the upper half of the table (with that bit flipped) together give the byte. Signs: the
// layout puts the four bits of a group where one shift brings them to the top of their bytes; prmt
// spreads them, and the exclusive or makes v of -(v + 1) (design D2).

#include <cstdint>

#include "kernels/cuda/tiled5_product.h"

namespace hlwq::cuda {

__device__ __forceinline__ uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  uint32_t d;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(selector));
  return d;
}

// Weights 8j .. 8j+7 of a lane's quarter, as two words of int8.
struct Weights8 {
  uint32_t low, high;
};
__device__ __forceinline__ Weights8 decode_weights(const Tiled5Table& table, uint32_t indices,
                                                   uint32_t signs, int j) {
  const uint32_t flipped = indices ^ 0x88888888u;
  const uint32_t magnitude_low = permute_bytes(table.words[0], table.words[1], indices) |
                                 permute_bytes(table.words[2], table.words[3], flipped);
  const uint32_t magnitude_high = permute_bytes(table.words[0], table.words[1], indices >> 16) |
                                  permute_bytes(table.words[2], table.words[3], flipped >> 16);
  const uint32_t sign_low = permute_bytes(signs << (2 * j), 0u, 0xba98u);
  const uint32_t sign_high = permute_bytes(signs << (2 * j + 1), 0u, 0xba98u);
  return {magnitude_low ^ sign_low, magnitude_high ^ sign_high};
}

// c += a bT for 16 rows of a, 8 of b and 32 products each, exact in int32.
__device__ __forceinline__ void multiply_add(int32_t (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                             uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The same with c not read but taken to be `start` in every element.
__device__ __forceinline__ void multiply_from(int32_t start, int32_t (&c)[4], uint32_t a0,
                                              uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                                              uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%10,%10,%10};"
      : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(start));
}

// Weights are read once a step: around L1, and issued where they stand in the source, so that they
// can be on their way before the kernel waits for its inputs.
__device__ __forceinline__ uint4 load_weights16(const void* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
__device__ __forceinline__ uint32_t load_weights4(const void* p) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}
__device__ __forceinline__ uint16_t load_weights2(const void* p) {
  uint16_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(v) : "l"(p));
  return v;
}

}  // namespace hlwq::cuda
