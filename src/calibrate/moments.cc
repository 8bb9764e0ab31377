#include "calibrate/moments.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "calibrate/rotate_rows.h"
#include "quant/block_dispatch.h"

namespace hlwq {
namespace {

constexpr int64_t kTile = 256;  // of the sums, a task's

}  // namespace

Moments::Moments(int64_t cols)
    : cols_(cols),
      padded_(blocks_of(cols) * kBlock),
      sums_(static_cast<size_t>(padded_ * padded_), 0.0f) {}

size_t Moments::bytes_for(int64_t cols) {
  const auto padded = static_cast<size_t>(blocks_of(cols) * kBlock);
  return padded * padded * sizeof(float);
}

void Moments::add(F32View x, ThreadPool& pool) {
  HLWQ_CHECK(x.cols == cols_);
  if (x.rows == 0) return;
  rotated_.resize(static_cast<size_t>(x.rows * padded_));
  pool.run(x.rows, [&](int64_t r) { rotate_row(x.row(r), cols_, rotated_.data() + r * padded_); });
  const BlockKernels& kernels = *usable_block_kernels().back();
  std::vector<std::pair<int64_t, int64_t>> tiles;  // on and above the diagonal
  for (int64_t i = 0; i < padded_; i += kTile) {
    for (int64_t j = i; j < padded_; j += kTile) tiles.emplace_back(i, j);
  }
  pool.run(static_cast<int64_t>(tiles.size()), [&](int64_t t) {
    const auto [i, j] = tiles[static_cast<size_t>(t)];
    const auto size = [&](int64_t at) { return std::min(kTile, padded_ - at); };
    kernels.add_product({.rows = size(i),
                         .columns = size(j),
                         .terms = x.rows,
                         .sign = 1.0f,
                         .a = rotated_.data() + i,
                         .a_stride = padded_,
                         .b = rotated_.data() + j,
                         .b_stride = padded_,
                         .c = sums_.data() + i * padded_ + j,
                         .c_stride = padded_});
  });
  tokens_ += x.rows;
}

}  // namespace hlwq
