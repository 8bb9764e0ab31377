#pragma once
// Pages, inputs and FP64 answers of the attention tests.

#include <cstdint>
#include <span>
#include <vector>

#include "ops/backend.h"
#include "tests/kernels/op_test_support.h"

namespace hlwq::test {

// A pool of scrambled pages: the tables name pages in a stirred order and are -1 beyond the used
// part; unwritten memory reads as NaN.
struct Pool {
  Pool(const AttentionShape& shape, DType dtype, int64_t slots, int64_t context);
  [[nodiscard]] KvPages pages() const {
    return {memory.data(), dtype, page_bytes, tables.data(), stride};
  }
  // An element as stored.
  [[nodiscard]] float element(bool value, int64_t slot, int64_t position, int64_t head,
                              int64_t i) const;
  void fill(Random& random) const;  // F16 keys and values everywhere
  [[nodiscard]] bool same_bytes(const Pool& other) const;

  AttentionShape shape;
  DType dtype;
  int64_t slots, used, stride, page_bytes;
  Array<std::byte> memory;
  Array<int32_t> tables;
};

// Widths of keys and values.
struct KvWidths {
  int keys = 16, values = 16;
};

// A pool of pages with codes, as Pool: scrambled, NaN where nothing was written, rings too.
struct CodedPool {
  CodedPool(const AttentionShape& shape, KvWidths widths, int64_t slots, int64_t context,
            int64_t step_tokens);
  [[nodiscard]] KvPages pages() const;
  // Any keys and values, in both forms.
  void fill(Random& random) const;
  [[nodiscard]] bool same_codes(const CodedPool& other) const;

  AttentionShape shape;
  KvWidths widths;
  int64_t slots, used, stride, page_bytes, ring_pages;
  Array<std::byte> memory, ring;
  Array<int32_t> tables;
};

struct AttentionInputs {
  AttentionInputs(Random& random, const AttentionShape& shape, int64_t tokens, double spread = 1.0,
                  RowStart start = RowStart::kAnywhere);
  Rows q, k, v;
};

// Rows [first, first + count) of the inputs, which are those of `segments`.
void run(Backend& backend, const Pool& pool, const AttentionInputs& in, int64_t first,
         int64_t count, std::span<const Segment> segments, const Activation& out);

void run(Backend& backend, const CodedPool& pool, const AttentionInputs& in, int64_t first,
         int64_t count, std::span<const Segment> segments, const Activation& out);

// A key or value as pages of the type hold it.
[[nodiscard]] float as_stored(float value, DType dtype);

// One whole sequence of the inputs' rows, from position 0: [tokens, heads * head_dim].
[[nodiscard]] std::vector<double> expected_sequence(const AttentionInputs& in,
                                                    const AttentionShape& shape, DType dtype,
                                                    int64_t tokens);
// What query `q` [heads * head_dim] sees in positions [0, context) of a slot's pages.
[[nodiscard]] std::vector<double> expected_token(const Pool& pool, int64_t slot, int64_t context,
                                                 const float* q);

// The same with codes: what each query reads of each token follows from their positions.
[[nodiscard]] std::vector<double> expected_coded_sequence(const AttentionInputs& in,
                                                          const AttentionShape& shape,
                                                          KvWidths widths, int64_t tokens);
[[nodiscard]] std::vector<double> expected_coded_token(const CodedPool& pool, int64_t slot,
                                                       int64_t context, const float* q);

[[nodiscard]] ScratchNeeds attention_needs(const AttentionShape& shape, int64_t tokens,
                                           int64_t context);

}  // namespace hlwq::test
