// The body of every BlockKernels, included once by each block_kernel_<isa>.cc. Everything here is
// in an unnamed namespace, and no inline function of other headers is called: a shared symbol
// compiled with one file's instruction set must not be linked into another's.
//
// `Vector` is 16 FP32 lanes with load, set1, +, -, *, fma, step<stride>() (the butterfly inside the
// vector), sum() (lanes l and l+8 added, then l and l+4, l+2, l+1), magnitude_or(other) (per lane
// the larger of |this| and other) and largest(). `Nearest` finds codes and levels for one vector. A
// block is 8 vectors, weight 16r + l in lane l of vector r.

#include <cstdint>

#include "quant/block_kernel.h"

namespace hlwq {
namespace {

constexpr int kVectors = kBlock / 16;

// butterfly128 of hadamard.h: strides 1..8 inside each vector, 16..64 between vectors.
template <typename Vector>
inline void butterfly_vectors(Vector (&x)[kVectors]) {
  for (Vector& v : x)
    v = v.template step<1>().template step<2>().template step<4>().template step<8>();
  for (int stride = 1; stride < kVectors; stride *= 2) {
    for (int r = 0; r < kVectors; ++r) {
      if ((r & stride) != 0) continue;
      const Vector a = x[r], b = x[r + stride];
      x[r] = a + b;
      x[r + stride] = a - b;
    }
  }
}

struct Fit {
  float zc;
  float cc;
};

// Codes of z * inverse_scale and their sums against z; stores the codes unless `codes` is null.
template <typename Vector, typename Nearest>
inline Fit fit_codes(const Nearest& nearest, const Vector (&z)[kVectors], float inverse_scale,
                     uint8_t* codes) {
  const Vector scale = Vector::set1(inverse_scale);
  Vector zc = Vector::set1(0.0f), cc = Vector::set1(0.0f);
  for (int r = 0; r < kVectors; ++r) {
    const auto code = nearest.code(z[r] * scale);
    const Vector c = nearest.level(code);
    zc = fma(z[r], c, zc);
    cc = fma(c, c, cc);
    if (codes != nullptr) code.store(codes + 16 * r);
  }
  return {zc.sum(), cc.sum()};
}

// |z|^2 minus the error under the least-squares norm; 0 for codes that point away from z.
inline float explained(Fit f) { return f.zc > 0.0f ? f.zc * f.zc / f.cc : 0.0f; }

template <typename Vector, typename Nearest>
void encode_blocks(const NearestTable& table, const TrialScales& trials, const float* weights,
                   int64_t blocks, uint8_t* codes, BlockSums* sums) {
  const Nearest nearest(table);
  for (int64_t b = 0; b < blocks; ++b) {
    Vector z[kVectors];
    Vector squares = Vector::set1(0.0f);
    for (int r = 0; r < kVectors; ++r) {
      z[r] = Vector::load(weights + b * kBlock + 16 * r);
      squares = fma(z[r], z[r], squares);
    }
    const float ww = squares.sum();
    const float length = __builtin_sqrtf(ww);
    const float norm = length > 1e-10f ? length : 1e-10f;
    butterfly_vectors(z);
    const Vector inverse_norm = Vector::set1(1.0f / norm);
    for (Vector& v : z) v = v * inverse_norm;

    uint8_t* const block_codes = codes + b * kBlock;
    const bool single = trials.trials == 0 && trials.refinements == 0;
    Fit best = fit_codes(nearest, z, 1.0f, single ? block_codes : nullptr);
    if (!single) {
      float best_scale = 1.0f;
      float most = explained(best);
      const auto consider = [&](float inverse_scale) {
        const Fit f = fit_codes(nearest, z, inverse_scale, nullptr);
        const float e = explained(f);
        if (e > most) {
          best = f;
          most = e;
          best_scale = inverse_scale;
        }
      };
      Vector magnitudes = Vector::set1(0.0f);
      for (const Vector& v : z) magnitudes = v.magnitude_or(magnitudes);
      if (const float peak = magnitudes.largest(); peak > 0.0f) {
        const float to_top = table.top / peak;
        for (int t = 0; t < trials.trials; ++t) consider(trials.inverse_factors[t] * to_top);
        for (int i = 0; i < trials.refinements; ++i)
          if (best.zc > 0.0f) consider(best.cc / best.zc);
      }
      fit_codes(nearest, z, best_scale, block_codes);
    }
    sums[b] = {ww, norm, best.zc, best.cc};
  }
}

// `Levels` looks up the levels of 16 codes a call.
template <typename Vector, typename Levels>
void decode_blocks(const float* level, const uint8_t* codes, const float* norms, int64_t blocks,
                   float* out) {
  const Levels levels(level);
  for (int64_t b = 0; b < blocks; ++b) {
    Vector x[kVectors];
    for (int r = 0; r < kVectors; ++r) x[r] = levels.of(codes + b * kBlock + 16 * r);
    butterfly_vectors(x);
    const Vector norm = Vector::set1(norms[b]);
    for (int r = 0; r < kVectors; ++r) (x[r] * norm).store(out + b * kBlock + 16 * r);
  }
}

}  // namespace
}  // namespace hlwq
