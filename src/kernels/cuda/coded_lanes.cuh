#pragma once
// One block of 128 codes in a warp, whatever the layout: lane l holds the codes 4l .. 4l+3. For
// kernels that are not limited by the reading of codes.

#include <cuda_fp16.h>

#include "kernels/cuda/coded_form.h"

namespace hlwq::cuda {

// Codes 4l .. 4l+3 of a block of a row.
//   kTiled5: quarter l / 8, word (l % 8) / 2 of it, half l % 2: the two bytes at 2l hold the four
//            magnitudes; the sign of the n-th is bit 8n + 7 - l % 8 of the quarter's word of signs
//   kPlanes: half l % 2 of byte l / 2 of each plane
__device__ __forceinline__ void load_lane_codes(uint32_t (&codes)[4], const CodedForm& form,
                                                const std::byte* matrix, int64_t rows,
                                                int64_t blocks, int64_t row, int64_t block) {
  const int lane = threadIdx.x % 32;
  if (form.tiled5) {
    const int64_t at = (row / 8 * blocks + block) * 8 + row % 8;
    const uint32_t magnitudes = reinterpret_cast<const uint16_t*>(matrix + at * 64)[lane];
    const uint32_t signs = reinterpret_cast<const uint32_t*>(
        matrix + tiled5_signs_offset(rows, blocks) + at * 16)[lane / 8];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const uint32_t magnitude = (magnitudes >> (4 * n)) & 15u;
      const bool negative = ((signs >> (8 * n + 7 - lane % 8)) & 1u) != 0;
      codes[n] = negative ? 15u - magnitude : 16u + magnitude;
    }
    return;
  }
  const auto* planes =
      reinterpret_cast<const uint8_t*>(matrix) + (row * blocks + block) * form.bits * 16;
  codes[0] = codes[1] = codes[2] = codes[3] = 0;
  for (int p = 0; p < form.bits; ++p) {
    const uint32_t half = static_cast<uint32_t>(planes[p * 16 + lane / 2]) >> (4 * (lane % 2));
#pragma unroll
    for (int n = 0; n < 4; ++n) codes[n] |= ((half >> n) & 1u) << p;
  }
}

__device__ __forceinline__ float load_norm(const CodedForm& form, const std::byte* matrix,
                                           int64_t rows, int64_t blocks, int64_t row,
                                           int64_t block) {
  const int64_t offset = form.tiled5 ? tiled5_norms_offset(rows, blocks)
                                     : planes_norms_offset(rows, blocks, form.bits);
  const int64_t at = form.tiled5 ? (row / 8 * blocks + block) * 8 + row % 8 : row * blocks + block;
  return __half2float(reinterpret_cast<const __half*>(matrix + offset)[at]);
}

}  // namespace hlwq::cuda
