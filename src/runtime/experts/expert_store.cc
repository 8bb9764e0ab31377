#include "runtime/experts/expert_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "quant/layout.h"

namespace hlwq {

Result<ExpertStore> ExpertStore::create(const Backend& backend, LoadedExperts experts,
                                        std::vector<Buffer> pins) {
  ExpertStore store;
  store.experts_ = std::move(experts);
  store.pins_ = std::move(pins);
  HLWQ_CHECK(!store.experts_.layers.empty() && !store.experts_.layers.front().empty());
  if (store.layers() * store.experts() > kMostExpertKeys)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} MoE layers of {} experts: a cache serves up to {} experts",
                            store.layers(), store.experts(), kMostExpertKeys));
  for (const std::vector<Mlp>& layer : store.experts_.layers) {
    if (layer.size() != store.experts_.layers.front().size())
      return fail(ErrorCode::kUnsupported,
                  fmt::format("MoE layers of {} and {} experts cannot share a cache",
                              store.experts_.layers.front().size(), layer.size()));
    HLWQ_TRY(backend.check_experts(layer));
    const Mlp& first = layer.front();
    const auto bytes_to = [&](const std::byte* at) { return at - first.up.data; };
    const ExpertRecord record = {
        .bytes = bytes_to(first.down.data) +
                 round_up(static_cast<int64_t>(first.down.bytes()), kRecordAlign),
        .down_offset = bytes_to(first.down.data)};
    for (size_t e = 0; e < layer.size(); ++e)
      HLWQ_CHECK(bytes_to(layer[e].up.data) == static_cast<int64_t>(e) * record.bytes &&
                 layer[e].down.data == layer[e].up.data + record.down_offset);
    store.records_.push_back(record);
    store.slot_bytes_ = std::max(store.slot_bytes_, record.bytes);
  }
  return store;
}

Status ExpertStore::copy(Backend& backend, int64_t layer, int64_t expert, int64_t count,
                         std::byte* to) const {
  backend.copy_beside(to, address(layer, expert), static_cast<size_t>(count * record(layer).bytes));
  return {};
}

}  // namespace hlwq
