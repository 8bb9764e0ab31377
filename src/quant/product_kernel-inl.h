// The body of every BlockKernels::add_product, included once by each block_kernel_<isa>.cc after
// block_kernel-inl.h, under the same rules.
//
// A tile of kTileRows x (16 * kTileVectors) sums stays in registers over a chunk of 256 terms; both
// operands are packed so that the tile reads them in order. The order of additions is the same for
// every tile shape: chunks ascending, fma with ascending terms from 0 within a chunk.

#include <cstdint>

#include "quant/block_kernel.h"

namespace hlwq {
namespace {

constexpr int64_t kTerms = 256;          // of a chunk
constexpr int64_t kPackedRows = 96;      // of a, a multiple of every kTileRows
constexpr int64_t kPackedColumns = 256;  // of b

// c [rows, columns] += sign * the sum over `terms` of a[t][.] b[t][.]; a and b packed.
template <typename Vector, int kTileRows, int kTileVectors>
inline void add_tile(const float* a, const float* b, int64_t terms, float sign, int64_t rows,
                     int64_t columns, float* c, int64_t c_stride) {
  constexpr int kColumns = 16 * kTileVectors;
  Vector sums[kTileRows][kTileVectors];
  for (int i = 0; i < kTileRows; ++i) {
    for (int j = 0; j < kTileVectors; ++j) sums[i][j] = Vector::set1(0.0f);
  }
  for (int64_t t = 0; t < terms; ++t) {
    Vector right[kTileVectors];
    for (int j = 0; j < kTileVectors; ++j) right[j] = Vector::load(b + t * kColumns + 16 * j);
    for (int i = 0; i < kTileRows; ++i) {
      const Vector left = Vector::set1(a[t * kTileRows + i]);
      for (int j = 0; j < kTileVectors; ++j) sums[i][j] = fma(left, right[j], sums[i][j]);
    }
  }
  const Vector factor = Vector::set1(sign);
  if (rows == kTileRows && columns == kColumns) {
    for (int i = 0; i < kTileRows; ++i) {
      for (int j = 0; j < kTileVectors; ++j) {
        float* const at = c + i * c_stride + 16 * j;
        fma(factor, sums[i][j], Vector::load(at)).store(at);
      }
    }
    return;
  }
  alignas(64) float edge[kTileRows][kColumns];
  for (int i = 0; i < kTileRows; ++i) {
    for (int j = 0; j < kTileVectors; ++j) (factor * sums[i][j]).store(edge[i] + 16 * j);
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) c[i * c_stride + j] += edge[i][j];
  }
}

// Groups of `width` columns of x [terms, columns] one after the other, each [terms][width]; the
// last is filled up with zeros.
inline void pack_columns(const float* x, int64_t stride, int64_t terms, int64_t columns, int width,
                         float* packed) {
  for (int64_t first = 0; first < columns; first += width) {
    const int64_t count = columns - first < width ? columns - first : width;
    for (int64_t t = 0; t < terms; ++t) {
      const float* const from = x + t * stride + first;
      for (int64_t i = 0; i < count; ++i) packed[i] = from[i];
      for (int64_t i = count; i < width; ++i) packed[i] = 0.0f;
      packed += width;
    }
  }
}

template <typename Vector, int kTileRows, int kTileVectors>
void add_packed_product(const ProductArgs& p) {
  constexpr int kColumns = 16 * kTileVectors;
  static_assert(kPackedRows % kTileRows == 0 && kPackedColumns % kColumns == 0);
  alignas(64) static thread_local float packed_a[kTerms * kPackedRows];
  alignas(64) static thread_local float packed_b[kTerms * kPackedColumns];
  const auto least = [](int64_t x, int64_t y) { return x < y ? x : y; };
  for (int64_t j0 = 0; j0 < p.columns; j0 += kPackedColumns) {
    const int64_t columns = least(kPackedColumns, p.columns - j0);
    for (int64_t t0 = 0; t0 < p.terms; t0 += kTerms) {
      const int64_t terms = least(kTerms, p.terms - t0);
      pack_columns(p.b + t0 * p.b_stride + j0, p.b_stride, terms, columns, kColumns, packed_b);
      for (int64_t i0 = 0; i0 < p.rows; i0 += kPackedRows) {
        const int64_t rows = least(kPackedRows, p.rows - i0);
        pack_columns(p.a + t0 * p.a_stride + i0, p.a_stride, terms, rows, kTileRows, packed_a);
        for (int64_t j = 0; j < columns; j += kColumns) {
          for (int64_t i = 0; i < rows; i += kTileRows) {
            add_tile<Vector, kTileRows, kTileVectors>(
                packed_a + i * terms, packed_b + j * terms, terms, p.sign,
                least(kTileRows, rows - i), least(kColumns, columns - j),
                p.c + (i0 + i) * p.c_stride + j0 + j, p.c_stride);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace hlwq
