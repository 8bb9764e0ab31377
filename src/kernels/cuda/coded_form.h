#pragma once
// What kernels for coded matrices of any width and table (quant/layout.h) know about one: passed by
// value. The other parts follow from its rows and blocks.

#include <cstddef>
#include <cstdint>

#include "base/host_device.h"
#include "quant/block.h"

namespace hlwq::cuda {

struct CodedForm {
  int16_t levels[256] = {};  // v of the grid, the first 2^bits
  float factor = 0;          // grid_factor(step)
  int bits = 0;
  bool wide = false;    // v beyond int8
  bool tiled5 = false;  // kTiled5; else kPlanes
};

// From the fields of a LevelGrid and the layout.
inline CodedForm coded_form(const int16_t* levels, int bits, float step, bool wide, bool tiled5) {
  CodedForm form;
  for (int k = 0; k < 1 << bits; ++k) form.levels[k] = levels[k];
  form.factor = step / 256.0f;
  form.bits = bits;
  form.wide = wide;
  form.tiled5 = tiled5;
  return form;
}

// Bytes from the start of a matrix to the signs (kTiled5) and to the norms.
HLWQ_HD inline int64_t tiled5_signs_offset(int64_t rows, int64_t blocks) {
  return (rows + 7) / 8 * blocks * 512;
}
HLWQ_HD inline int64_t tiled5_norms_offset(int64_t rows, int64_t blocks) {
  return (rows + 7) / 8 * blocks * 640;
}
HLWQ_HD inline int64_t planes_norms_offset(int64_t rows, int64_t blocks, int bits) {
  return (rows * blocks * bits * 16 + 255) / 256 * 256;
}

}  // namespace hlwq::cuda
