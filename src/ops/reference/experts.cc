// relu2 MLPs: one for all tokens, or a token's chosen experts with the shared one, into the
// residual.

#include <algorithm>
#include <limits>
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
  put_answer(args);
  end_experts(args);
}

void ReferenceBackend::begin_experts(const ExpertsArgs& args) {
  HLWQ_CHECK(args.y.rows == args.x.x.rows);
  // An output that nobody makes shows.
  outputs_.assign(static_cast<size_t>(args.y.rows * args.experts_used * args.y.cols),
                  std::numeric_limits<float>::quiet_NaN());
}

void ReferenceBackend::multiply_rows(const Mlp& expert, const Activation& x,
                                     std::span<const int64_t> rows, MutF32View y) {
  const QuantizedView& q = x.q;
  const auto count = static_cast<int64_t>(rows.size());
  const OwnedActivation in(count, x.x.cols, q.xq != nullptr);
  for (int64_t r = 0; r < count; ++r) {
    const int64_t t = rows[static_cast<size_t>(r)];
    if (x.x.data != nullptr) std::copy_n(x.x.row(t), x.x.cols, in.view().x.row(r));
    if (q.xq == nullptr) continue;
    std::copy_n(q.xq + t * q.blocks * kBlock, q.blocks * kBlock,
                in.view().q.xq + r * q.blocks * kBlock);
    std::copy_n(q.sx + t * q.blocks, q.blocks, in.view().q.sx + r * q.blocks);
    std::copy_n(q.sum + t * q.blocks, q.blocks, in.view().q.sum + r * q.blocks);
  }
  mlp({.x = in.view(), .mlp = expert, .y = y});
}

void ReferenceBackend::some_experts(const ExpertsArgs& args, const ExpertRange& range) {
  const int64_t tokens = args.x.x.rows, width = args.y.cols, used = args.experts_used;
  for (auto e = static_cast<size_t>(range.first); e < static_cast<size_t>(range.last); ++e) {
    const Mlp expert = expert_at(args, e);
    if (expert.up.data == nullptr) continue;
    std::vector<int64_t> choices, rows;  // indices into ids, and their tokens
    for (int64_t i = 0; i < tokens * used; ++i) {
      if (args.ids[i] != static_cast<int32_t>(e)) continue;
      choices.push_back(i);
      rows.push_back(i / used);
    }
    if (choices.empty()) continue;
    const OwnedActivation out(static_cast<int64_t>(rows.size()), width, false);
    multiply_rows(expert, args.x, rows, out.view().x);
    for (size_t r = 0; r < rows.size(); ++r)
      std::copy_n(out.view().x.row(static_cast<int64_t>(r)), width,
                  outputs_.begin() + choices[r] * width);
  }
}

void ReferenceBackend::put_experts(const ExpertsArgs& args, const ExpertRows& rows) {
  const int64_t width = args.y.cols;
  for (int64_t r = 0; r < rows.rows; ++r)
    std::copy_n(rows.y + r * width, width, outputs_.begin() + rows.choices[r] * width);
}

void ReferenceBackend::expert_outputs(const OutputsArgs& args) {
  for (size_t e = 0; e < args.experts.size(); ++e) {
    const Mlp& expert = args.experts[e];
    const std::vector<int64_t> rows(args.tokens + args.begin[e], args.tokens + args.begin[e + 1]);
    MutF32View y = args.y;
    y.data = args.y.row(args.begin[e]);
    y.rows = static_cast<int64_t>(rows.size());
    const int64_t cols = expert.up.cols;
    const Activation x{.x = {.data = nullptr, .rows = args.x.rows, .cols = cols, .stride = cols},
                       .q = args.x};
    multiply_rows(expert, x, rows, y);
  }
}

void ReferenceBackend::end_experts(const ExpertsArgs& args) {
  const int64_t width = args.y.cols, used = args.experts_used;
  for (int64_t t = 0; t < args.y.rows; ++t) {
    float* y = args.y.row(t);
    std::fill_n(y, width, 0.0f);
    for (int64_t i = t * used; i < (t + 1) * used; ++i)
      for (int64_t c = 0; c < width; ++c)
        y[c] = add_expert(args.weights[i], outputs_[static_cast<size_t>(i * width + c)], y[c]);
  }
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
