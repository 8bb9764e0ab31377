#include "model/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/checked.h"
#include "quant/layout.h"

namespace hlwq {

WeightBytes ParameterPlacer::bytes() const {
  return {.experts = std::accumulate(expert_bytes_.begin(), expert_bytes_.end(), size_t{0}),
          .embeddings = embedding_bytes_,
          .others = other_bytes_};
}

void ParameterPlacer::refuse(Error error) {
  if (!error_) error_ = std::move(error);
}

void ParameterPlacer::add(const std::string& name, Kind kind, int64_t rows, int64_t cols,
                          Target target, size_t& bytes) {
  if (error_) return;
  const std::optional<Matrix> matrix = form(name, kind, rows, cols);
  if (!matrix) return;
  coded_ = coded_ || matrix->coded();
  target.offset = bytes;
  bytes += static_cast<size_t>(round_up(static_cast<int64_t>(matrix->bytes()), kRecordAlign));
  parameters_.push_back({.name = name, .form = *matrix});
  targets_.push_back(target);
}

void ParameterPlacer::matrix(const std::string& name, int64_t rows, int64_t cols, Matrix& out) {
  if (&out == &weights_.embeddings && !tied_)
    return add(name, Kind::kMatrix, rows, cols, {.matrix = &out, .moe_layer = kEmbeddings},
               embedding_bytes_);
  add(name, Kind::kMatrix, rows, cols, {.matrix = &out}, other_bytes_);
}

void ParameterPlacer::plain_matrix(const std::string& name, int64_t rows, int64_t cols,
                                   Matrix& out) {
  add(name, Kind::kPlainMatrix, rows, cols, {.matrix = &out}, other_bytes_);
}

void ParameterPlacer::values(const std::string& name, const std::vector<int64_t>& shape,
                             const float*& out) {
  const int64_t row_floats =
      std::accumulate(shape.begin() + 1, shape.end(), int64_t{1}, std::multiplies<>());
  add(name, Kind::kValues, shape.front(), row_floats, {.values = &out}, other_bytes_);
}

void ParameterPlacer::experts(const std::string& prefix, int64_t width, int64_t input,
                              std::vector<Mlp>& out) {
  const auto layer = static_cast<int64_t>(expert_bytes_.size());
  size_t bytes = 0;
  for (size_t e = 0; e < out.size(); ++e) {
    const std::string expert = fmt::format("{}.{}.", prefix, e);
    add(expert + "up_proj.weight", Kind::kMatrix, width, input,
        {.matrix = &out[e].up, .moe_layer = layer}, bytes);
    add(expert + "down_proj.weight", Kind::kMatrix, input, width,
        {.matrix = &out[e].down, .moe_layer = layer}, bytes);
  }
  expert_bytes_.push_back(bytes);
}

Status ParameterPlacer::find_forms(const ModelConfig& config) {
  tied_ = config.tied_head;
  visit_parameters(config, weights_, *this);
  if (error_) return tl::unexpected<Error>(*error_);
  return {};
}

Status ParameterPlacer::place(const ModelConfig& config, Backend& backend, ExpertHome& home) {
  HLWQ_TRY_ASSIGN(weights_.memory, backend.allocate(other_bytes_, "weights beside the experts"));
  for (size_t layer = 0; layer < expert_bytes_.size(); ++layer) {
    HLWQ_TRY_ASSIGN(Buffer buffer, home.allocate(backend, expert_bytes_[layer],
                                                 fmt::format("expert weights of MoE layer {} of {}",
                                                             layer + 1, expert_bytes_.size())));
    weights_.expert_memory.push_back(std::move(buffer));
  }
  // Last, because only now it is known whether the device reaches what the home gives.
  constexpr std::string_view kEmbeddingsName = "embeddings";
  if (home.device_reaches()) {
    HLWQ_TRY_ASSIGN(weights_.embedding_memory,
                    home.allocate(backend, embedding_bytes_, kEmbeddingsName));
  }
  if (weights_.embedding_memory.empty() || !home.device_reaches()) {
    HLWQ_TRY_ASSIGN(weights_.embedding_memory, backend.allocate(embedding_bytes_, kEmbeddingsName));
  }
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Target& target = targets_[i];
    Matrix& placed = parameters_[i].form;
    placed.data = buffer_of(target).data() + target.offset;
    if (target.matrix != nullptr) *target.matrix = placed;
    if (target.values != nullptr) *target.values = reinterpret_cast<const float*>(placed.data);
  }
  weights_.coded = coded_;
  if (config.tied_head) weights_.head = weights_.embeddings;
  for (LayerWeights& layer : weights_.layers) {
    auto* const moe = std::get_if<MoeWeights>(&layer.mixer);
    if (moe == nullptr || moe->experts.empty()) continue;
    moe->experts_coded = std::any_of(moe->experts.begin(), moe->experts.end(),
                                     [](const Mlp& e) { return e.up.coded(); });
    moe->expert_bytes = moe->experts.front().up.bytes() + moe->experts.front().down.bytes();
  }
  return {};
}

}  // namespace hlwq
