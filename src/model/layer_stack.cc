// One step of the whole model:
//   x = embeddings[ids];  x += mixer_l( rmsnorm(x, norm_l) ) for each layer;
//   logits = rmsnorm(x, norm_f) headᵀ for the rows asked for.

#include "model/layer_stack.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <functional>
#include <utility>
#include <variant>

#include "base/check.h"
#include "model/layers/layers.h"
#include "model/step_key.h"

namespace hlwq {
namespace {

uint64_t next_model_number() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1);
}

Status check_segments(std::span<const Segment> segments, int64_t tokens, int64_t context) {
  int64_t next = 0;
  for (const Segment& segment : segments) {
    if (segment.first_token != next || segment.tokens < 1 || segment.position < 0 ||
        segment.slot < 0)
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("step: segment of slot {} at token {}, position {}, with {} tokens; "
                      "wanted one that starts at token {}",
                      segment.slot, segment.first_token, segment.position, segment.tokens, next));
    if (segment.tokens > context - segment.position)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("step: positions {} to {} of slot {} exceed the context of {} tokens",
                              segment.position, segment.position + segment.tokens - 1, segment.slot,
                              context));
    next += segment.tokens;
  }
  if (next != tokens)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("step: segments hold {} tokens, ids {}", next, tokens));
  return {};
}

}  // namespace

Activation StepContext::normalize(const float* norm, bool coded) const {
  const Activation u = buffers.normed.view(tokens, config.hidden, coded);
  backend.rms_norm({.x = residual(), .weight = norm, .eps = config.eps, .out = u});
  return u;
}

LayerStack::LayerStack(Backend& backend, ModelConfig config, ModelWeights weights,
                       std::unique_ptr<ExpertRunner> experts, const StepLimits& limits,
                       StepBuffers buffers)
    : backend_(backend),
      config_(std::move(config)),
      weights_(std::move(weights)),
      experts_(std::move(experts)),
      limits_(limits),
      buffers_(std::move(buffers)),
      number_(next_model_number()) {}

Result<std::unique_ptr<Model>> LayerStack::create(Backend& backend, ModelConfig config,
                                                  ModelWeights weights,
                                                  std::unique_ptr<ExpertRunner> experts,
                                                  const StepLimits& limits) {
  const bool quantized = weights.coded && backend.compute() == Compute::kInt8;
  HLWQ_TRY_ASSIGN(StepBuffers buffers, StepBuffers::create(backend, config, limits, quantized));
  return std::unique_ptr<Model>(new LayerStack(backend, std::move(config), std::move(weights),
                                               std::move(experts), limits, std::move(buffers)));
}

StateShape LayerStack::state_shape() const { return state_shape_of(config_); }

size_t LayerStack::weight_bytes() const {
  const Buffer& embeddings = weights_.embedding_memory;
  return weights_.memory.bytes() + experts_->device_bytes() +
         (embeddings.device() == backend_.device() ? embeddings.bytes() : 0);
}

Status LayerStack::check(const StepBatch& step, const SequenceMemory& memory,
                         const MutF32View& logits) const {
  const auto tokens = static_cast<int64_t>(step.ids.size());
  if (tokens < 1 || tokens > limits_.tokens)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("step of {} tokens, wanted 1 to {}", tokens, limits_.tokens));
  for (size_t t = 0; t < step.ids.size(); ++t)
    if (step.ids[t] < 0 || step.ids[t] >= config_.vocabulary)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("token {} of the step has id {}, outside the vocabulary of {}", t,
                              step.ids[t], config_.vocabulary));
  HLWQ_TRY(check_segments(step.segments, tokens, limits_.context));
  int64_t last = -1;
  for (const int64_t row : step.logit_rows) {
    if (row <= last || row >= tokens)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("logit row {} after {} in a step of {} tokens", row, last, tokens));
    last = row;
  }
  const auto rows = static_cast<int64_t>(step.logit_rows.size());
  if (rows > limits_.logit_rows)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("step wants {} logit rows, the limit is {}", rows, limits_.logit_rows));
  HLWQ_CHECK(rows == 0 || (logits.rows >= rows && logits.cols == config_.vocabulary));
  const auto mamba_layers = static_cast<size_t>(config_.count(LayerKind::kMamba));
  HLWQ_CHECK(memory.conv.size() == mamba_layers && memory.ssm.size() == mamba_layers);
  HLWQ_CHECK(memory.kv.size() == static_cast<size_t>(config_.count(LayerKind::kAttention)));
  return {};
}

Status LayerStack::run_layers(const StepBatch& step, const SequenceMemory& memory,
                              const StepObserver* observer) {
  const StepContext context{.backend = backend_,
                            .config = config_,
                            .buffers = buffers_,
                            .observer = observer,
                            .segments = step.segments,
                            .tokens = static_cast<int64_t>(step.ids.size())};
  const MutF32View x = context.residual();
  backend_.embed({.ids = step.ids, .table = weights_.embeddings, .y = x});
  observe_hidden(observer, 0, x);
  size_t mamba_layer = 0, attention_layer = 0;
  int64_t moe_layer = 0;
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    const LayerWeights& layer = weights_.layers[l];
    if (const auto* mamba = std::get_if<MambaWeights>(&layer.mixer)) {
      run_mamba(context, *mamba, layer.norm, memory.conv[mamba_layer], memory.ssm[mamba_layer]);
      ++mamba_layer;
    } else if (const auto* attention = std::get_if<AttentionWeights>(&layer.mixer)) {
      run_attention(context, *attention, layer.norm, memory.kv[attention_layer++]);
    } else if (const auto* mlp = std::get_if<MlpWeights>(&layer.mixer)) {
      run_mlp(context, *mlp, layer.norm);
    } else if (const auto* gated = std::get_if<GatedMlpWeights>(&layer.mixer)) {
      run_gated_mlp(context, *gated, layer.norm);
    } else {
      HLWQ_TRY(run_moe(context, config_.layers[l].moe, std::get<MoeWeights>(layer.mixer),
                       layer.norm, static_cast<int64_t>(l), moe_layer++, *experts_));
    }
    observe_hidden(observer, static_cast<int64_t>(l) + 1, x);
  }
  return {};
}

void LayerStack::run_head(std::span<const int64_t> logit_rows, int64_t tokens, MutF32View logits,
                          const StepObserver* observer) {
  const int64_t hidden = config_.hidden;
  const bool coded = weights_.head.coded();
  const F32View x = dense(buffers_.residual.data(), tokens, hidden);
  if (observer != nullptr && observer->hidden) {
    const Activation all = buffers_.normed.view(tokens, hidden, false);
    backend_.rms_norm({.x = x, .weight = weights_.norm_f, .eps = config_.eps, .out = all});
    observe_hidden(observer, static_cast<int64_t>(config_.layers.size()) + 1, all.x);
  }
  if (logit_rows.empty()) return;

  const auto rows = static_cast<int64_t>(logit_rows.size());
  const Activation u = buffers_.normed.view(rows, hidden, coded);
  const std::array head = {Projection{
      .weight = weights_.head,
      .y = {.data = logits.data, .rows = rows, .cols = logits.cols, .stride = logits.stride}}};
  const auto norm_of_run = [&](int64_t first, int64_t run) {
    return Norm{
        .x = dense(x.row(first), run, hidden), .weight = weights_.norm_f, .eps = config_.eps};
  };
  if (logit_rows.back() - logit_rows.front() + 1 == rows) {
    backend_.project({.x = u, .projections = head, .norm = norm_of_run(logit_rows.front(), rows)});
    return;
  }
  // The rows asked for, normalized run by run into the first rows of the buffer.
  for (int64_t begin = 0, end; begin < rows; begin = end) {
    const int64_t first = logit_rows[static_cast<size_t>(begin)];
    for (end = begin + 1; end < rows; ++end)
      if (logit_rows[static_cast<size_t>(end)] != first + (end - begin)) break;
    const int64_t run = end - begin;
    Activation out{.x = dense(u.x.row(begin), run, hidden), .q = {}};
    if (u.q.xq != nullptr)
      out.q = {.xq = u.q.xq + begin * u.q.blocks * kBlock,
               .sx = u.q.sx + begin * u.q.blocks,
               .sum = u.q.sum + begin * u.q.blocks,
               .rows = run,
               .blocks = u.q.blocks};
    const Norm norm = norm_of_run(first, run);
    backend_.rms_norm({.x = norm.x, .weight = norm.weight, .eps = norm.eps, .out = out});
  }
  backend_.project({.x = u, .projections = head});
}

Status LayerStack::forward(const StepBatch& step, const SequenceMemory& memory, MutF32View logits,
                           const StepObserver* observer) {
  HLWQ_TRY(check(step, memory, logits));
  const auto issue = [&]() -> Status {
    HLWQ_TRY(run_layers(step, memory, observer));
    run_head(step.logit_rows, static_cast<int64_t>(step.ids.size()), logits, observer);
    return {};
  };
  const bool repeats =
      observer == nullptr && experts_->repeats(static_cast<int64_t>(step.ids.size()));
  const uint64_t key = repeats ? step_key(number_, step, memory, logits) : 0;
  return backend_.run_step({.ids = step.ids, .segments = step.segments}, key, std::ref(issue));
}

Status LayerStack::check_finite() {
  const bool elsewhere = experts_->take_non_finite();  // both flags are cleared
  if (!backend_.take_non_finite() && !elsewhere) return {};
  return fail(ErrorCode::kBadValue,
              "a step of the model gave values that are not finite (an overflow or a damaged "
              "weight); its sequences cannot go on");
}

void LayerStack::observe_hidden(const StepObserver* observer, int64_t index, F32View hidden) {
  if (observer != nullptr && observer->hidden)
    observer->hidden(index, observed_rows_.read(backend_, hidden));
}

}  // namespace hlwq
