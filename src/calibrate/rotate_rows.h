#pragma once
// Rows into the domain of codes: blocks of 128, orthonormal rotation, zero-padded to whole blocks.

#include <cstdint>

namespace hlwq {

// One row: x [cols] to z [whole blocks].
void rotate_row(const float* x, int64_t cols, float* z);

}  // namespace hlwq
