#include "calibrate/rotate_rows.h"

#include <algorithm>

#include "quant/block.h"
#include "quant/hadamard.h"

namespace hlwq {

void rotate_row(const float* x, int64_t cols, float* z) {
  constexpr float kInverseRoot = 0.08838834764831845f;  // 1 / sqrt(128)
  const int64_t padded = blocks_of(cols) * kBlock;
  std::copy(x, x + cols, z);
  std::fill(z + cols, z + padded, 0.0f);
  for (float* block = z; block < z + padded; block += kBlock) {
    butterfly128(block);
    for (int i = 0; i < kBlock; ++i) block[i] *= kInverseRoot;
  }
}

}  // namespace hlwq
