#include "model/resident_experts.h"

#include <numeric>
#include <utility>

#include "base/check.h"

namespace hlwq {

ResidentExperts::ResidentExperts(Backend& backend, std::vector<std::vector<Mlp>> layers,
                                 std::vector<Buffer> memory)
    : backend_(backend), layers_(std::move(layers)), memory_(std::move(memory)) {}

Result<std::unique_ptr<ResidentExperts>> ResidentExperts::create(
    Backend& backend, std::vector<std::vector<Mlp>> layers, std::vector<Buffer> memory) {
  std::unique_ptr<ResidentExperts> experts(
      new ResidentExperts(backend, std::move(layers), std::move(memory)));
  for (const std::vector<Mlp>& layer : experts->layers_) {
    HLWQ_TRY_ASSIGN(Buffer table, backend.expert_table(layer));
    experts->tables_.push_back(std::move(table));
  }
  return experts;
}

Status ResidentExperts::run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) {
  HLWQ_CHECK(moe_layer >= 0 && moe_layer < static_cast<int64_t>(layers_.size()));
  const auto layer = static_cast<size_t>(moe_layer);
  backend_.experts({.x = routed.x,
                    .experts = layers_[layer],
                    .table = tables_[layer].data(),
                    .ids = routed.ids,
                    .weights = routed.weights,
                    .experts_used = routed.experts_used,
                    .y = y,
                    .shared = routed.shared,
                    .residual = routed.residual});
  return {};
}

size_t ResidentExperts::device_bytes() const {
  const auto add = [](size_t sum, const Buffer& b) { return sum + b.bytes(); };
  const size_t weights = std::accumulate(memory_.begin(), memory_.end(), size_t{0}, add);
  return std::accumulate(tables_.begin(), tables_.end(), weights, add);
}

}  // namespace hlwq
