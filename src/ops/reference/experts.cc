// relu2 MLPs: one for all tokens, or a token's chosen experts with the shared one, into the
// residual.

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "ops/integer_dot.h"
#include "ops/reference/reference_backend.h"

namespace hlwq {

void ReferenceBackend::mlp(const MlpArgs& args) {
  const auto& [up, down] = args.mlp;
  const bool quantized = compute_ == Compute::kInt8 && down.coded();
  const OwnedActivation hidden(args.x.x.rows, up.rows, quantized);
  const MutF32View h = hidden.view().x;
  multiply({.weight = up, .bias = args.up_bias, .y = h}, args.x);
  for (int64_t t = 0; t < h.rows; ++t) {
    for (int64_t i = 0; i < h.cols; ++i) h.row(t)[i] = relu_squared(h.row(t)[i]);
  }
  quantize({hidden.view()});
  multiply({.weight = down, .bias = args.down_bias, .y = args.y, .accumulate = args.accumulate},
           hidden.view());
}

void ReferenceBackend::experts(const ExpertsArgs& args) {
  begin_experts(args);
  some_experts(args,
               {.first = 0, .last = static_cast<int64_t>(args.experts.size()), .choices = {}});
  end_experts(args);
}

void ReferenceBackend::begin_experts(const ExpertsArgs& args) {
  HLWQ_CHECK(args.y.rows == args.x.x.rows);
  for (int64_t t = 0; t < args.y.rows; ++t) std::fill_n(args.y.row(t), args.y.cols, 0.0f);
}

void ReferenceBackend::some_experts(const ExpertsArgs& args, const ExpertRange& range) {
  const int64_t tokens = args.x.x.rows, cols = args.x.x.cols, width = args.y.cols;
  const QuantizedView& q = args.x.q;
  // Experts outside, so that each token meets its experts in ascending order.
  for (auto e = static_cast<size_t>(range.first); e < static_cast<size_t>(range.last); ++e) {
    std::vector<int64_t> choices;  // indices into ids and weights
    for (int64_t i = 0; i < tokens * args.experts_used; ++i) {
      if (args.ids[i] == static_cast<int32_t>(e)) choices.push_back(i);
    }
    if (choices.empty()) continue;
    const auto rows = static_cast<int64_t>(choices.size());
    const OwnedActivation in(rows, cols, q.xq != nullptr), out(rows, width, false);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t t = choices[static_cast<size_t>(r)] / args.experts_used;
      std::copy_n(args.x.x.row(t), cols, in.view().x.row(r));
      if (q.xq == nullptr) continue;
      std::copy_n(q.xq + t * q.blocks * kBlock, q.blocks * kBlock,
                  in.view().q.xq + r * q.blocks * kBlock);
      std::copy_n(q.sx + t * q.blocks, q.blocks, in.view().q.sx + r * q.blocks);
      std::copy_n(q.sum + t * q.blocks, q.blocks, in.view().q.sum + r * q.blocks);
    }
    mlp({.x = in.view(), .mlp = expert_at(args, e), .y = out.view().x});
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t choice = choices[static_cast<size_t>(r)];
      float* y = args.y.row(choice / args.experts_used);
      for (int64_t i = 0; i < width; ++i) {
        y[i] = add_expert(args.weights[choice], out.view().x.row(r)[i], y[i]);
      }
    }
  }
}

void ReferenceBackend::end_experts(const ExpertsArgs& args) {
  if (args.shared != nullptr)
    mlp({.x = args.x, .mlp = *args.shared, .y = args.y, .accumulate = true});
  if (args.residual.data != nullptr) add({.x = args.y, .y = args.residual});
}

void ReferenceBackend::add(const AddArgs& args) {
  HLWQ_CHECK(args.x.rows == args.y.rows && args.x.cols == args.y.cols);
  for (int64_t t = 0; t < args.y.rows; ++t) {
    for (int64_t i = 0; i < args.y.cols; ++i) args.y.row(t)[i] += args.x.row(t)[i];
  }
}

}  // namespace hlwq
