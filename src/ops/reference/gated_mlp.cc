// The hidden layer of a gated MLP.

#include <cmath>

#include "base/check.h"
#include "ops/reference/reference_backend.h"

namespace hlwq {

void ReferenceBackend::silu_gate(const SiluGateArgs& args) {
  const MutF32View& out = args.out.x;
  HLWQ_CHECK(args.gate.rows == out.rows && args.gate.cols == out.cols);
  HLWQ_CHECK(args.up.rows == out.rows && args.up.cols == out.cols);
  for (int64_t t = 0; t < out.rows; ++t) {
    for (int64_t i = 0; i < out.cols; ++i) {
      const double gate = args.gate.row(t)[i];
      out.row(t)[i] = static_cast<float>(gate / (1.0 + std::exp(-gate)) * args.up.row(t)[i]);
    }
  }
  quantize({args.out});
}

}  // namespace hlwq
