#include "model/resident_experts.h"

#include <numeric>
#include <utility>

#include "base/check.h"
#include "ops/expert_address.h"

namespace hlwq {

Result<std::unique_ptr<ResidentExperts>> ResidentExperts::create(Backend& backend,
                                                                 LoadedExperts experts) {
  std::unique_ptr<ResidentExperts> runner(new ResidentExperts(backend, std::move(experts)));
  for (const std::vector<Mlp>& layer : runner->experts_.layers) {
    HLWQ_TRY(backend.check_experts(layer));
    if (backend.device() == Device::kHost) continue;
    std::vector<ExpertAddress> addresses;
    for (const Mlp& expert : layer) addresses.push_back({expert.up.data, expert.down.data});
    const size_t bytes = addresses.size() * sizeof(ExpertAddress);
    HLWQ_TRY_ASSIGN(Buffer table, backend.allocate(bytes, "table of experts"));
    backend.upload(table.data(), addresses.data(), bytes);
    runner->tables_.push_back(std::move(table));
  }
  return runner;
}

Status ResidentExperts::run(int64_t moe_layer, const RoutedTokens& routed, MutF32View y) {
  HLWQ_CHECK(moe_layer >= 0 && moe_layer < static_cast<int64_t>(experts_.layers.size()));
  const auto layer = static_cast<size_t>(moe_layer);
  const ExpertAddress* const table =
      tables_.empty() ? nullptr : reinterpret_cast<const ExpertAddress*>(tables_[layer].data());
  backend_.experts(args_of(routed, experts_.layers[layer], table, y));
  return {};
}

size_t ResidentExperts::device_bytes() const {
  const auto add = [](size_t sum, const Buffer& b) { return sum + b.bytes(); };
  const size_t weights =
      std::accumulate(experts_.memory.begin(), experts_.memory.end(), size_t{0}, add);
  return std::accumulate(tables_.begin(), tables_.end(), weights, add);
}

Result<std::unique_ptr<ExpertRunner>> ResidentHome::make_runner(Backend& backend,
                                                                LoadedExperts experts,
                                                                size_t /*later_bytes*/) {
  return ResidentExperts::create(backend, std::move(experts));
}

}  // namespace hlwq
