#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "hlwq/engine.h"

namespace hlwq::cli {

// An object for each MoE layer.
[[nodiscard]] nlohmann::json experts_to_json(const std::vector<ExpertTraffic>& layers);

}  // namespace hlwq::cli
