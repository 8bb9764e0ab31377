#pragma once
// The kernels of paged grouped-query attention. F16 pages and heads of 64 or 128 go through tensor
// cores with the accuracy of FP32 (attention_math.cuh): segments of one token by attention_decode
// and attention_combine, longer ones by attention_store and attention_prefill, with the same bits.
// Everything else goes through attention_store and attention_any.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/host_device.h"
#include "ops/kv_pages.h"

namespace hlwq::cuda {

// Device pointers; strides in floats. Pages as in ops/backend.h, KvPages.
struct AttentionCall {
  int heads = 0, kv_heads = 0, head_dim = 0;
  int shared = 0;  // heads / kv_heads: heads that share a KV head
  const Segment* segments = nullptr;
  const int32_t* token_segment = nullptr;
  int64_t segment_count = 0, tokens = 0;

  const float *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  unsigned char* pages = nullptr;
  bool half = true;  // F16 pages, else F32
  int64_t page_bytes = 0;
  const int32_t* tables = nullptr;
  int64_t table_stride = 0;
  // Widths of codes, 16 for F16; the ring of exact pages when either is coded (ops/kv_pages.h).
  int key_bits = 16, value_bits = 16;
  unsigned char* ring = nullptr;  // null: nothing is coded
  int64_t ring_pages = 0, ring_page_bytes = 0;

  float* out = nullptr;
  int64_t out_stride = 0;
  int8_t* xq = nullptr;  // out as int8, by attention_combine with heads of 128; null: not wanted
  float* sx = nullptr;
  int32_t* sum = nullptr;
  uint32_t* non_finite = nullptr;

  // Scratch: [segments of a launch][heads][splits] records of attention_record floats.
  float* parts = nullptr;
};

// Splits lie at fixed positions: [128 i, 128 i + 128).
inline constexpr int kSplitTokens = 128;
// What a split leaves of a head: head_dim sums, then the largest score, the sum of weights,
// padding.
HLWQ_HD constexpr int64_t attention_record(int64_t head_dim) { return head_dim + 4; }

// Splits that the scratch has records for: of one sequence of `context` tokens, or of several
// shorter ones together. attention_parts holds this many times heads times attention_record.
inline int64_t attention_splits_for(int64_t context) {
  constexpr int64_t kLeastSplits = 1024;
  int64_t splits = kLeastSplits;
  while (splits * kSplitTokens < context) splits *= 2;
  return splits;
}

// Whether the tensor core kernels take the shape and the pages.
[[nodiscard]] bool attention_takes(const AttentionCall& call);

// Writes k and v of segments of at least `fewest` tokens into the pages. The coded one: their codes
// and exact copies; heads as is_kv_dim.
void attention_store(const AttentionCall& call, int fewest, cudaStream_t stream);
void attention_store_coded(const AttentionCall& call, int fewest, cudaStream_t stream);

// Segments [first, first + count) that have one token, in contexts of up to `splits` splits: stores
// k and v and leaves parts; then out from the parts. Codes are made by the second of the two: no
// query of the step reads them.
struct DecodeRange {
  int64_t first = 0, count = 0, splits = 0;
};
void attention_decode(const AttentionCall& call, const DecodeRange& range, cudaStream_t stream);
void attention_combine(const AttentionCall& call, const DecodeRange& range, cudaStream_t stream);

// Segments of two tokens and more. A tile is prefill_rows() rows, a row a head of a token.
[[nodiscard]] int prefill_rows(int head_dim);
void attention_prefill(const AttentionCall& call, int64_t tiles, cudaStream_t stream);

// All segments.
inline constexpr int kMostAnyHeadDim = 1024;
void attention_any(const AttentionCall& call, cudaStream_t stream);

}  // namespace hlwq::cuda
