// Products with one matrix for all rows, and what feeds them: norms, activations, rotation,
// embedding rows.

#include <algorithm>

#include "base/check.h"
#include "kernels/cuda/add.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/exact_product.h"
#include "kernels/cuda/matrix_forms.h"
#include "kernels/cuda/matrix_kind.h"
#include "kernels/cuda/norm_route.h"
#include "kernels/cuda/plain_product.h"
#include "kernels/cuda/planes_product.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/rotate_quantize.h"
#include "kernels/cuda/route.h"
#include "kernels/cuda/silu_gate.h"
#include "kernels/cuda/tiled5_product.h"

namespace hlwq::cuda {
namespace {

constexpr int64_t kWidestNorm = 131072;

// Whether the few-row kernel, which reads codes again for every 8 rows of x, is quicker than the
// many-row kernel, whose thread blocks are few when the matrix has few rows (measured on an H200;
// bench/NOTES.md).
bool few_rows(int64_t tokens, int64_t rows, int multiprocessors) {
  if (tokens <= 8) return true;
  const int64_t many_blocks = (rows + 127) / 128 * ((tokens + 31) / 32);
  return tokens <= 48 && many_blocks < multiprocessors / 2;
}

bool same_kind(const Matrix& a, const Matrix& b, Compute compute) {
  return kind_of(a, compute) == kind_of(b, compute) && a.grid == b.grid && a.layout == b.layout &&
         a.dtype == b.dtype;
}

RmsNormArgs norm_into(const Norm& norm, const Activation& out) {
  return {.x = norm.x, .weight = norm.weight, .eps = norm.eps, .out = out};
}

RmsNormRows norm_call(const RmsNormArgs& args, uint32_t* non_finite) {
  HLWQ_CHECK(args.x.cols <= kWidestNorm);
  HLWQ_CHECK(args.out.x.rows == args.x.rows && args.out.x.cols == args.x.cols);
  const QuantizedView& q = args.out.q;
  return {.x = args.x.data,
          .x_stride = args.x.stride,
          .weight = args.weight,
          .eps = args.eps,
          .rows = args.x.rows,
          .width = args.x.cols,
          .y = args.out.x.data,
          .y_stride = args.out.x.stride,
          .xq = q.xq,
          .sx = q.sx,
          .sum = q.sum,
          .non_finite = non_finite};
}

}  // namespace

void CudaBackend::rms_norm(const RmsNormArgs& args) {
  cuda::rms_norm(norm_call(args, non_finite_), stream_.get());
}

void CudaBackend::quantize(const QuantizeArgs& args) {
  const auto& [x, q] = args.a;
  if (q.xq == nullptr) return;
  rotate_quantize(x.data, x.stride, x.rows, x.cols, q.xq, q.sx, q.sum, non_finite_, stream_.get());
}

void CudaBackend::rotate(const F32View& x, float* rotated) {
  rotate_rows(x.data, x.stride, x.rows, x.cols, rotated, non_finite_, stream_.get());
}

void CudaBackend::project(const ProjectArgs& args) {
  const int64_t tokens = args.x.x.rows;
  if (tokens == 0) return;
  // One row of coded products is normed in their launch; the product of one row of anything else,
  // or of many, is preceded by the norm.
  std::optional<Norm> norm = args.norm;
  if (norm &&
      !(tokens == 1 && args.projections.size() <= kMostTargets &&
        std::all_of(args.projections.begin(), args.projections.end(), [&](const Projection& p) {
          return kind_of(p.weight, compute_) == MatrixKind::kTiled5 &&
                 same_kind(p.weight, args.projections.front().weight, compute_) &&
                 tiled5_one_takes(p.weight.blocks(), 0, limits_);
        }))) {
    rms_norm(norm_into(*norm, args.x));
    norm.reset();
  }
  const RmsNormRows norm_rows =
      norm ? norm_call(norm_into(*norm, args.x), non_finite_) : RmsNormRows{};
  bool rotated = false;
  for (size_t first = 0, last; first < args.projections.size(); first = last) {
    const Matrix& any = args.projections[first].weight;
    ProductTargets targets;
    int64_t rows = 0;
    for (last = first; last < args.projections.size() && targets.count < kMostTargets; ++last) {
      const Projection& p = args.projections[last];
      if (!same_kind(any, p.weight, compute_)) break;
      HLWQ_CHECK(p.weight.data != nullptr && p.weight.cols == args.x.x.cols);
      HLWQ_CHECK(p.y.rows == tokens && p.y.cols == p.weight.rows);
      rows += p.weight.rows;
      targets.target[targets.count++] = {.matrix = p.weight.data,
                                         .rows = p.weight.rows,
                                         .y = p.y.data,
                                         .y_stride = p.y.stride,
                                         .bias = p.bias,
                                         .accumulate = p.accumulate};
    }
    switch (kind_of(any, compute_)) {
      case MatrixKind::kTiled5: {
        const QuantizedRows x = quantized_rows(args.x.q);
        HLWQ_CHECK(x.xq != nullptr && x.blocks == any.blocks());
        if (tokens == 1 && tiled5_one_takes(x.blocks, 0, limits_)) {
          tiled5_one(x, norm ? &norm_rows : nullptr, targets, tiled5_table(*any.grid), {}, limits_,
                     stream_.get());
        } else if (few_rows(tokens, rows, limits_.multiprocessors) && tiled5_few_takes(x.blocks)) {
          tiled5_few(x, tokens, targets, tiled5_table(*any.grid), stream_.get());
        } else {
          tiled5_many(x, tokens, targets, tiled5_table(*any.grid), {},
                      tokens <= 16   ? 16
                      : tokens <= 32 ? 32
                                     : 64,
                      stream_.get());
        }
        break;
      }
      case MatrixKind::kPlanes:
        HLWQ_CHECK(args.x.q.xq != nullptr && args.x.q.blocks == any.blocks());
        planes_product(quantized_rows(args.x.q), tokens, targets, coded_form(any), {},
                       stream_.get());
        break;
      case MatrixKind::kExact:
        HLWQ_CHECK(tokens <= scratch_.tokens && args.x.x.cols <= scratch_.width);
        if (!rotated) rotate(args.x.x, scratch_.rotated);
        rotated = true;
        exact_product(scratch_.rotated, any.blocks(), tokens, targets, coded_form(any), {},
                      stream_.get());
        break;
      case MatrixKind::kPlain:
        plain_product(plain_rows(args.x.x), tokens, targets, plain_type(any.dtype), {},
                      stream_.get());
        break;
    }
  }
}

void CudaBackend::embed(const EmbedArgs& args) {
  HLWQ_CHECK(static_cast<int64_t>(args.ids.size()) == step_.on_device().tokens);
  HLWQ_CHECK(args.y.rows == static_cast<int64_t>(args.ids.size()) &&
             args.y.cols == args.table.cols);
  embed_rows(step_.on_device().ids, args.y.rows, embed_table(args.table), args.y.data,
             args.y.stride, stream_.get());
}

void CudaBackend::route(const RouteArgs& args) {
  const int64_t tokens = args.u.x.rows, experts = args.gate.rows;
  if (tokens == 0) return;
  HLWQ_CHECK(!args.gate.coded() && args.gate.cols == args.u.x.cols);
  HLWQ_CHECK(args.norm.x.data != args.u.x.data);
  HLWQ_CHECK(tokens <= scratch_.tokens && experts <= scratch_.experts);
  const RmsNormArgs norm = norm_into(args.norm, args.u);
  const RouteRows choice{.scores = scratch_.scores,
                         .correction_bias = args.correction_bias,
                         .tokens = tokens,
                         .experts = experts,
                         .groups = args.groups,
                         .groups_used = args.groups_used,
                         .experts_used = args.experts_used,
                         .normalize = args.normalize,
                         .scale = args.scale,
                         .ids = args.ids,
                         .weights = args.weights};
  const NormRoute together{.norm = norm_call(norm, non_finite_),
                           .gate = args.gate.data,
                           .type = plain_type(args.gate.dtype),
                           .scores = scratch_.scores,
                           .route = choice,
                           .arrivals = scratch_.route_arrivals};
  if (norm_route_takes(together, limits_)) return norm_route(together, limits_, stream_.get());

  rms_norm(norm);
  ProductTargets targets;
  targets.target[targets.count++] = {
      .matrix = args.gate.data, .rows = experts, .y = scratch_.scores, .y_stride = experts};
  plain_product(plain_rows(args.u.x), tokens, targets, together.type, {}, stream_.get());
  route_rows(choice, stream_.get());
}

void CudaBackend::silu_gate(const SiluGateArgs& args) {
  const auto& [x, q] = args.out;
  HLWQ_CHECK(args.gate.rows == x.rows && args.gate.cols == x.cols);
  HLWQ_CHECK(args.up.rows == x.rows && args.up.cols == x.cols);
  HLWQ_CHECK(q.xq == nullptr || (q.rows == x.rows && q.blocks == blocks_of(x.cols)));
  cuda::silu_gate({.gate = args.gate.data,
                   .gate_stride = args.gate.stride,
                   .up = args.up.data,
                   .up_stride = args.up.stride,
                   .rows = x.rows,
                   .cols = x.cols,
                   .out = x.data,
                   .out_stride = x.stride,
                   .xq = q.xq,
                   .sx = q.sx,
                   .sum = q.sum,
                   .non_finite = non_finite_},
                  stream_.get());
}

void CudaBackend::add(const AddArgs& args) {
  HLWQ_CHECK(args.x.rows == args.y.rows && args.x.cols == args.y.cols);
  add_rows(args.x.data, args.x.stride, args.y.rows, args.y.cols, args.y.data, args.y.stride,
           stream_.get());
}

}  // namespace hlwq::cuda
