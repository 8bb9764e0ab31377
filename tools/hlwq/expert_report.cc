#include "expert_report.h"

#include <nlohmann/json.hpp>

namespace hlwq::cli {

nlohmann::json experts_to_json(const std::vector<ExpertTraffic>& layers) {
  nlohmann::json array = nlohmann::json::array();
  for (const ExpertTraffic& layer : layers)
    array.push_back({{"hits", layer.hits},
                     {"misses", layer.misses},
                     {"on_cpu", layer.on_cpu},
                     {"in_place", layer.in_place},
                     {"bytes", layer.bytes},
                     {"stall_s", layer.stall_s},
                     {"cpu_s", layer.cpu_s}});
  return array;
}

}  // namespace hlwq::cli
