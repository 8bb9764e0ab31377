#pragma once
// The arithmetic that attention_decode, attention_combine and attention_prefill share, so that a
// token's bits depend on its position and its sequence alone.
//
// Scores and sums go through FP16 tensor cores without losing FP32's accuracy: keys and values are
// FP16 already, queries and weights are each the sum of two FP16 (high + low), so a product is two
// products. For that a query row is scaled by a power of two to below 2^9, and weights by 2^15, so
// that the low parts are not subnormal.
//
// Halves that are coded are read rotated, from codes and exactly: queries are rotated before
// scores, sums after. A tile of codes has their levels times the key's or value's scale, rounded to
// FP16.
//
// Order of a row: pages ascending within a split, by running softmax; a score by 16 elements of the
// head at a time, high before low; sums of values by 16 keys at a time, high before low; splits
// joined ascending (join). Exponents are base 2.

#include <cuda_fp16.h>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/rotate_quantize.cuh"
#include "kernels/cuda/tensor_cores.cuh"

namespace hlwq::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;
inline constexpr float kWeightScale = 32768.0f;
inline constexpr int kPagesOfSplit = kSplitTokens / static_cast<int>(kPageTokens);

// Where element (row, column) of a tile of FP16 rows lies in shared memory: groups of 8 columns
// are stirred so that the same columns of 8 rows lie in different banks.
template <int kColumns>
__device__ __forceinline__ int tile_at(int row, int column) {
  static_assert(kColumns % 64 == 0);
  return row * kColumns + ((column / 8) ^ (row % 8)) * 8 + column % 8;
}

// Keys or values of one KV head in page `page` of a sequence: [kPageTokens][head_dim]. `table`: the
// sequence's.
__device__ __forceinline__ __half* page_half(const AttentionCall& a, const int32_t* table,
                                             int64_t page, int kv_head, bool values) {
  const int64_t element =
      (static_cast<int64_t>(values ? a.kv_heads : 0) + kv_head) * kPageTokens * a.head_dim;
  return reinterpret_cast<__half*>(a.pages + table[page] * a.page_bytes) + element;
}

// The same in the ring, for what is read exactly when there are codes.
__device__ __forceinline__ __half* ring_half(const AttentionCall& a, int64_t slot, int64_t page,
                                             int kv_head, bool values) {
  const int64_t element =
      (static_cast<int64_t>(values ? a.kv_heads : 0) + kv_head) * kPageTokens * a.head_dim;
  return reinterpret_cast<__half*>(a.ring + (slot * a.ring_pages + page % a.ring_pages) *
                                                a.ring_page_bytes) +
         element;
}

// And the section of a page of codes.
__device__ __forceinline__ unsigned char* page_section(const AttentionCall& a, const int32_t* table,
                                                       int64_t page, int kv_head, bool values) {
  const int64_t keys = kv_section_bytes(a.key_bits, a.head_dim);
  const int64_t at = values
                         ? a.kv_heads * keys + kv_head * kv_section_bytes(a.value_bits, a.head_dim)
                         : kv_head * keys;
  return a.pages + table[page] * a.page_bytes + at;
}

// FP16 cannot hold every value; the largest it has stands for those beyond. NaN stays NaN.
__device__ __forceinline__ __half to_half(float v) {
  return __float2half_rn(v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v);
}

// Copies a page's keys or values into a tile: keys [0, valid), zeros for the others, but nothing
// for `skipped` (a key, or -1).
template <int kHeadDim, int kThreads>
__device__ __forceinline__ void copy_page(__half* tile, const __half* from, int valid,
                                          int skipped) {
  constexpr int kParts = kHeadDim / 8, kKeysAtOnce = kThreads / kParts;  // parts: of 16 bytes
  static_assert(kThreads % kParts == 0 && kPageTokens % kKeysAtOnce == 0);
  const int column = static_cast<int>(threadIdx.x) % kParts * 8;
#pragma unroll
  for (int i = 0; i < static_cast<int>(kPageTokens) / kKeysAtOnce; ++i) {
    const int key = static_cast<int>(threadIdx.x) / kParts + i * kKeysAtOnce;
    if (key == skipped) continue;
    copy_async16(shared_address(tile + tile_at<kHeadDim>(key, column)),
                 from + key * kHeadDim + column, key < valid);
  }
}

// What makes a butterfly of so many points orthonormal.
__device__ __forceinline__ float inverse_root(int points) {
  return __fdiv_rn(1.0f, __fsqrt_rn(static_cast<float>(points)));
}

// A lane's elements of a query, or of another vector; zeros where it is null.
template <int kHeadDim>
struct LaneQuery {
  static constexpr int kPerLane = kHeadDim / 32;
  float v[kPerLane];

  __device__ __forceinline__ void load(const float* q) {
    const int first = threadIdx.x % 32 * kPerLane;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) v[i] = q == nullptr ? 0.0f : q[first + i];
  }
  // H of it. By a warp.
  __device__ __forceinline__ void rotate() {
    rotate_block(v);
#pragma unroll
    for (float& x : v) x *= inverse_root(kHeadDim);
  }
};

// The query becomes row `row` of the tiles `high` and `low`. Returns what its scores are multiplied
// by: 1/sqrt(head_dim), the base of the exponents and the row's scale. By a warp.
template <int kHeadDim>
__device__ __forceinline__ float stage_query(const LaneQuery<kHeadDim>& q, __half* high,
                                             __half* low, int row) {
  constexpr int kPerLane = LaneQuery<kHeadDim>::kPerLane;
  uint32_t most = 0;  // magnitudes order like their bits
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) most = max(most, __float_as_uint(q.v[i]) & 0x7fffffffu);
  most = __reduce_max_sync(kAllLanes, most);
  const int exponent = min(max(static_cast<int>(most >> 23) - 127, -100), 100);
  const auto power_of_two = [](int e) {
    return __uint_as_float(static_cast<uint32_t>(e + 127) << 23);
  };
  const float up = power_of_two(8 - exponent);
#pragma unroll
  for (int i = 0; i < kPerLane; i += 2) {
    const SplitPair pair = split_pair(q.v[i] * up, q.v[i + 1] * up);
    const int at = tile_at<kHeadDim>(row, threadIdx.x % 32 * kPerLane + i);
    *reinterpret_cast<uint32_t*>(high + at) = pair.high;
    *reinterpret_cast<uint32_t*>(low + at) = pair.low;
  }
  constexpr float kLog2OfE = 1.44269504088896340736f;
  return __fdiv_rn(kLog2OfE, __fsqrt_rn(static_cast<float>(kHeadDim))) * power_of_two(exponent - 8);
}

// Where the lane's row of the 16x16 at (row, column) lies; row % 8 and column % 16 are 0.
// `lane_row` and `lane_column` (0 or 8) say which of its four 8x8 the lane names a row of. Written
// so that the lane's part is one register for all of a tile.
template <int kColumns>
__device__ __forceinline__ const __half* lane_row_of(const __half* tile, int lane_row,
                                                     int lane_column, int row, int column) {
  const int lane_part = tile_at<kColumns>(lane_row + threadIdx.x % 8, lane_column);
  return tile + (lane_part ^ column) + row * kColumns;
}

// The 16x16 of a tile at (row, column) as operand A.
template <int kColumns>
__device__ __forceinline__ void load_operand_a(uint32_t (&a)[4], const __half* tile, int row,
                                               int column) {
  const int matrix = threadIdx.x % 32 / 8;
  load_matrices(a, lane_row_of<kColumns>(tile, matrix % 2 * 8, matrix / 2 * 8, row, column));
}

// Rows are keys: the 16 keys from `key`, 16 elements from `column` on, as operand B of a product
// over elements: b[0], b[1] for the first 8 keys, b[2], b[3] for the others.
template <int kHeadDim>
__device__ __forceinline__ void load_keys(uint32_t (&b)[4], const __half* tile, int key,
                                          int column) {
  const int matrix = threadIdx.x % 32 / 8;
  load_matrices(b, lane_row_of<kHeadDim>(tile, matrix / 2 * 8, matrix % 2 * 8, key, column));
}

// The same 16x16 as operand B of a product over keys: b[0], b[1] for the first 8 elements.
template <int kHeadDim>
__device__ __forceinline__ void load_values(uint32_t (&b)[4], const __half* tile, int key,
                                            int column) {
  const int matrix = threadIdx.x % 32 / 8;
  load_transposed(b, lane_row_of<kHeadDim>(tile, matrix % 2 * 8, matrix / 2 * 8, key, column));
}

// Running softmax of one row.
struct Softmax {
  float most = -INFINITY;  // largest score so far
  float total = 0;         // of weights; a lane's part of it within a split
};

// Scores are relative to this; a row that sees nothing yet has nothing to be relative to.
__device__ __forceinline__ float reference_of(float most) {
  return most == -INFINITY ? 0.0f : most;
}

// The larger maximum joins; returns what sums so far are multiplied by.
__device__ __forceinline__ float raise(Softmax& row, float most) {
  const float raised = fmaxf(row.most, most);
  const float shrink = exp2f(row.most - reference_of(raised));
  row.most = raised;
  return shrink;
}

__device__ __forceinline__ float weight_of(float score, float factor, float reference) {
  return exp2f(fmaf(score, factor, -reference)) * kWeightScale;
}

// A lane's 16 weights of a page, two of each 8 keys, in the order that four warps of 16 keys can
// also add them: sum_of_16_keys for each, then sum_of_page.
__device__ __forceinline__ float sum_of_16_keys(float a, float b, float c, float d) {
  return (a + b) + (c + d);
}
__device__ __forceinline__ float sum_of_page(float a, float b, float c, float d) {
  return (a + b) + (c + d);
}

__device__ __forceinline__ float sum_of_four_lanes(float v) {
  v += __shfl_xor_sync(kAllLanes, v, 1);
  return v + __shfl_xor_sync(kAllLanes, v, 2);
}
__device__ __forceinline__ float most_of_four_lanes(float v) {
  v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, 1));
  return fmaxf(v, __shfl_xor_sync(kAllLanes, v, 2));
}

// How a split joins those before it: sums become keep * before + add * split, as in join.
struct Joint {
  float keep, add;
};
__device__ __forceinline__ Joint joint_of(float most_before, float most_of_split) {
  const float reference = reference_of(fmaxf(most_before, most_of_split));
  return {exp2f(most_before - reference), exp2f(most_of_split - reference)};
}
__device__ __forceinline__ float join(float before, float of_split, const Joint& joint) {
  return fmaf(of_split, joint.add, before * joint.keep);
}

}  // namespace hlwq::cuda
