#include "runtime/experts/host_pairs.h"

#include "base/check.h"

namespace hlwq {

void HostPairs::gather(std::span<const Mlp> layer, std::span<const int32_t> wanted,
                       std::span<const int32_t> ids, int64_t used) {
  place_.assign(layer.size(), -1);
  experts.clear();
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto e = static_cast<size_t>(wanted[i]);
    HLWQ_CHECK(e < layer.size());
    place_[e] = static_cast<int32_t>(i);
    experts.push_back(layer[e]);
  }
  begin.assign(wanted.size() + 1, 0);
  for (const int32_t id : ids)
    if (const int32_t place = place_.at(static_cast<size_t>(id)); place >= 0)
      ++begin[static_cast<size_t>(place) + 1];
  for (size_t i = 1; i < begin.size(); ++i) begin[i] += begin[i - 1];
  tokens.resize(static_cast<size_t>(begin.back()));
  choices.resize(tokens.size());
  // begin[i] walks to the end of expert i while placing, then is set back by one expert.
  for (size_t i = 0; i < ids.size(); ++i) {
    const int32_t place = place_[static_cast<size_t>(ids[i])];
    if (place < 0) continue;
    const auto pair = static_cast<size_t>(begin[static_cast<size_t>(place)]++);
    tokens[pair] = static_cast<int32_t>(static_cast<int64_t>(i) / used);
    choices[pair] = static_cast<int32_t>(i);
  }
  for (size_t i = begin.size() - 1; i > 0; --i) begin[i] = begin[i - 1];
  begin[0] = 0;
}

}  // namespace hlwq
