// RMS norm and the quantization of activations.

#include <cmath>

#include "base/check.h"
#include "ops/reference/reference_backend.h"
#include "quant/activation.h"

namespace hlwq {

void ReferenceBackend::rms_norm(const RmsNormArgs& args) {
  const F32View& x = args.x;
  HLWQ_CHECK(args.out.x.rows == x.rows && args.out.x.cols == x.cols);
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* in = x.row(t);
    double squares = 0;
    for (int64_t i = 0; i < x.cols; ++i) squares += static_cast<double>(in[i]) * in[i];
    const double root = std::sqrt(squares / static_cast<double>(x.cols) + args.eps);
    float* out = args.out.x.row(t);
    for (int64_t i = 0; i < x.cols; ++i) {
      out[i] = static_cast<float>(args.weight[i] * (in[i] / root));
    }
  }
  quantize({args.out});
}

void ReferenceBackend::quantize(const QuantizeArgs& args) {
  const auto& [x, q] = args.a;
  if (q.xq == nullptr) return;
  HLWQ_CHECK(q.rows == x.rows && q.blocks == blocks_of(x.cols));
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t b = 0; b < q.blocks; ++b) {
      float z[kBlock] = {};
      for (int i = 0; i < kBlock && b * kBlock + i < x.cols; ++i) z[i] = x.row(t)[b * kBlock + i];
      const int64_t at = t * q.blocks + b;
      const BlockScale scale = rotate_quantize_block(z, q.xq + at * kBlock);
      q.sx[at] = scale.sx;
      q.sum[at] = scale.sum;
      non_finite_ = non_finite_ || !scale.finite;
    }
  }
}

}  // namespace hlwq
