#pragma once

#include <vector>

#include "hlwq/engine.h"
#include "model/model.h"

namespace hlwq {

// Of each MoE layer since the last call; empty where all experts are resident. Waits for the
// device.
[[nodiscard]] std::vector<ExpertTraffic> take_expert_traffic(Model& model);

void add_to(ExpertTraffic& sum, const ExpertTraffic& part);

}  // namespace hlwq
