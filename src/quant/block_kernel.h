#pragma once
// What encode_rows and decode_rows ask of one instruction set: whole blocks of 128 weights to codes
// and sums, and codes back to weights. All versions are one source (block_kernel-inl.h) over a
// vector of 16 lanes, with one order of floating-point operations, so codes and sums agree bit for
// bit.

#include <cstdint>

#include "quant/block.h"

namespace hlwq {

inline constexpr int kMaxLevels = 256;
inline constexpr int kMaxCells = 4096;

// Nearest level in constant time. The line is cut into equal cells that hold at most one decision
// boundary each: cell(z) = trunc(clamp(fma(z, cell_scale, cell_offset), 0, cells - 1)), and the
// code is base[cell] + (z > bound[cell]). cell() never decreases with z, also when rounded, and
// bounds are filed under their own cell(), so the code is exactly the number of boundaries below z.
// boundary[k] is the midpoint of levels k and k+1 rounded down: a float z is above one exactly when
// it is above the other, and a tie keeps the lower code.
struct NearestTable {
  alignas(64) float level[kMaxLevels];  // entries from level_count on are 0
  alignas(64) float boundary[kMaxLevels];
  alignas(64) float bound[kMaxCells];  // +inf in cells without a boundary
  alignas(64) int32_t base[kMaxCells];
  float cell_scale;
  float cell_offset;
  float top;  // the largest |level|
  int32_t level_count;
  int32_t cells;  // 0: boundaries too close together for kMaxCells; search boundary[] instead
};

// What to try in each block. First the codes of z itself. Then trial t quantizes
// z * inverse_factors[t] * (top / max|z|), which puts the block's peak at inverse_factors[t] times
// the outermost level; it wins when it leaves less error under its own least-squares norm. Then
// `refinements` more at the least-squares scale of the best so far.
struct TrialScales {
  const float* inverse_factors;  // [trials]
  int trials;
  int refinements;
};

// Sums over one block; z is the rotated block divided by `norm`, c the levels chosen.
struct BlockSums {
  float ww;    // sum w*w; NaN or infinite when a weight is, or when it overflows
  float norm;  // max(sqrt(ww), 1e-10)
  float zc;    // sum z*c
  float cc;    // sum c*c
};

// One block of 16 rows for encode_feedback. Weight k of row l is element [16 k + l]; rotated,
// orthonormal. With E the errors of the row so far (weights - values), weight k is rounded from
// target[k] + sum over j < k of E[j] feedback[128 j + k], and its noise costs penalty[k] a square.
inline constexpr int kFeedbackRows = 16;
struct FeedbackBlock {
  const float* feedback;  // [128, 128], read above the diagonal
  const float* penalty;   // [128]
  const float* weights;   // [128, 16]
  const float* target;    // [128, 16] weights and what the blocks before owe
};

// c [rows, columns] += sign * aᵀ b, row-major FP32, a [terms, rows], b [terms, columns].
struct ProductArgs {
  int64_t rows, columns, terms;
  float sign;  // 1 or -1
  const float* a;
  int64_t a_stride;
  const float* b;
  int64_t b_stride;
  float* c;
  int64_t c_stride;
};

struct BlockKernels {
  const char* name;
  // weights [blocks*128] to codes [blocks*128] and sums [blocks].
  void (*encode)(const NearestTable& table, const TrialScales& trials, const float* weights,
                 int64_t blocks, uint8_t* codes, BlockSums* sums);
  // codes [blocks*128], norms [blocks] already divided by 128, to out [blocks*128].
  // level [256]; out = (norm/128) * butterfly(level[code]), rounded once.
  void (*decode)(const float* level, const uint8_t* codes, const float* norms, int64_t blocks,
                 float* out);
  // Codes [128, 16] and the scale of each row's levels [16] (a norm is scale * sqrt(128)) of the
  // least cost over the trials. A row's trials are those of encode, by the peak of its target.
  void (*encode_feedback)(const NearestTable& table, const TrialScales& trials,
                          const FeedbackBlock& block, uint8_t* codes, float* scales);
  // The same bits from every version.
  void (*add_product)(const ProductArgs& args);
};

// Each instruction set's version; nullptr when not compiled in. The caller asks the processor.
const BlockKernels* scalar_block_kernels();
const BlockKernels* avx2_block_kernels();
const BlockKernels* avx512_block_kernels();

}  // namespace hlwq
