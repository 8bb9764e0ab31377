#pragma once
// What is known of a matrix's inputs: second moments over calibration tokens, in the rotated domain
// that codes live in (docs/math.md#calibrated-rounding).

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "quant/block.h"
#include "tensor/view.h"

namespace hlwq {

class Moments {
 public:
  // For inputs of `cols` values.
  explicit Moments(int64_t cols);

  // Adds every row of x [tokens, cols], which is in host memory.
  void add(F32View x, ThreadPool& pool);

  [[nodiscard]] int64_t cols() const { return cols_; }
  [[nodiscard]] int64_t padded() const { return padded_; }  // whole blocks
  [[nodiscard]] int64_t tokens() const { return tokens_; }
  // Sum of z zᵀ over the tokens, z = rotated x: [padded, padded]; on and above the diagonal.
  [[nodiscard]] std::span<const float> sums() const { return sums_; }
  // Host bytes of one object.
  [[nodiscard]] static size_t bytes_for(int64_t cols);

 private:
  int64_t cols_, padded_, tokens_ = 0;
  std::vector<float> sums_;
  std::vector<float> rotated_;  // of one add
};

}  // namespace hlwq
