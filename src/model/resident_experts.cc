#include "model/resident_experts.h"

#include <numeric>
#include <utility>

#include "base/check.h"

namespace hlwq {

ResidentExperts::ResidentExperts(Backend& backend, std::vector<std::vector<Mlp>> layers,
                                 std::vector<Buffer> memory)
    : backend_(backend), layers_(std::move(layers)), memory_(std::move(memory)) {}

Status ResidentExperts::run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) {
  HLWQ_CHECK(moe_layer >= 0 && moe_layer < static_cast<int64_t>(layers_.size()));
  backend_.experts({.x = routed.x,
                    .experts = layers_[static_cast<size_t>(moe_layer)],
                    .ids = routed.ids,
                    .weights = routed.weights,
                    .experts_used = routed.experts_used,
                    .y = y});
  return {};
}

size_t ResidentExperts::device_bytes() const {
  return std::accumulate(memory_.begin(), memory_.end(), size_t{0},
                         [](size_t sum, const Buffer& b) { return sum + b.bytes(); });
}

}  // namespace hlwq
