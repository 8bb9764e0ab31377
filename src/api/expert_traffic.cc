#include "api/expert_traffic.h"

namespace hlwq {

std::vector<ExpertTraffic> take_expert_traffic(Model& model) {
  std::vector<ExpertTraffic> layers;
  for (const ExpertLayerStats& layer : model.take_expert_stats())
    layers.push_back({.hits = layer.hits,
                      .misses = layer.misses,
                      .on_cpu = layer.on_host,
                      .in_place = layer.in_place,
                      .bytes = layer.bytes,
                      .stall_s = layer.stall_s,
                      .cpu_s = layer.host_s});
  return layers;
}

void add_to(ExpertTraffic& sum, const ExpertTraffic& part) {
  sum.hits += part.hits;
  sum.misses += part.misses;
  sum.on_cpu += part.on_cpu;
  sum.in_place += part.in_place;
  sum.bytes += part.bytes;
  sum.stall_s += part.stall_s;
  sum.cpu_s += part.cpu_s;
}

std::optional<double> hit_rate(std::span<const ExpertTraffic> layers) {
  int64_t hits = 0, all = 0;
  for (const ExpertTraffic& layer : layers) {
    hits += layer.hits;
    all += layer.hits + layer.misses;
  }
  if (all == 0) return std::nullopt;
  return static_cast<double>(hits) / static_cast<double>(all);
}

}  // namespace hlwq
