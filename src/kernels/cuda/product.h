#pragma once
// How products are asked for: plain structs that host and device share. A product is dense (every
// input row meets every target) or by expert (every pair of a token and an expert it chose meets
// that expert's matrix). Matrices may lie anywhere the device can read.

#include <cstddef>
#include <cstdint>

#include "ops/expert_address.h"

namespace hlwq::cuda {

// y[t][0, rows) = finish_product(x[t] matrixT, bias, accumulate ? y : null).
struct ProductTarget {
  const std::byte* matrix = nullptr;
  int64_t rows = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  const float* bias = nullptr;  // [rows] or null
  bool accumulate = false;
};

// Matrices of one launch that share an input.
inline constexpr int kMostTargets = 4;
struct ProductTargets {
  ProductTarget target[kMostTargets];
  int count = 0;
};

// Pairs sorted by expert, [first_pair, first_pair + pairs) of them: expert e has the pairs
// [begin[e], begin[e + 1]), all on the device. Pair p reads input row input_row[p] (p itself when
// null) and writes y row p.
struct ExpertPairs {
  const ExpertAddress* table = nullptr;
  bool down = false;  // which matrix of the entry
  const int32_t* begin = nullptr;
  const int32_t* input_row = nullptr;
  int64_t experts = 0, first_pair = 0, pairs = 0;
  int64_t rows = 0;  // of one expert's matrix
  float* y = nullptr;
  int64_t y_stride = 0;
};

// int8 activations as in ops/matrix.h: xq [rows, blocks * 128], sx and sum [rows, blocks].
struct QuantizedRows {
  const int8_t* xq = nullptr;
  const float* sx = nullptr;
  const int32_t* sum = nullptr;
  int64_t blocks = 0;
};

}  // namespace hlwq::cuda
