#include "model/nemotron_h/with_resident_experts.h"

#include <utility>
#include <variant>
#include <vector>

#include "model/nemotron_h/forward.h"
#include "model/resident_experts.h"

namespace hlwq::nemotron_h {

Result<std::unique_ptr<Model>> with_resident_experts(Backend& backend, NemotronHConfig config,
                                                     ModelWeights weights,
                                                     const StepLimits& limits) {
  std::vector<std::vector<Mlp>> experts;
  for (LayerWeights& layer : weights.layers)
    if (auto* moe = std::get_if<MoeWeights>(&layer.mixer))
      experts.push_back(std::exchange(moe->experts, {}));
  HLWQ_TRY_ASSIGN(auto runner, ResidentExperts::create(backend, std::move(experts),
                                                       std::exchange(weights.expert_memory, {})));
  return NemotronH::create(backend, std::move(config), std::move(weights), std::move(runner),
                           limits);
}

}  // namespace hlwq::nemotron_h
