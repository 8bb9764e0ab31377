#include "model/assemble.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "model/layer_stack.h"

namespace hlwq {

Result<std::unique_ptr<Model>> assemble(Backend& backend, ModelConfig config, ModelWeights weights,
                                        ExpertHome& home, size_t later_bytes,
                                        const StepLimits& limits) {
  LoadedExperts experts{
      .layers = {}, .used = 0, .memory = std::exchange(weights.expert_memory, {})};
  for (size_t l = 0; l < weights.layers.size(); ++l)
    if (auto* moe = std::get_if<MoeWeights>(&weights.layers[l].mixer)) {
      experts.layers.push_back(std::exchange(moe->experts, {}));
      experts.used = std::max(experts.used, config.layers[l].moe.experts_used);
    }
  HLWQ_TRY_ASSIGN(auto runner, home.make_runner(backend, std::move(experts), later_bytes));
  return LayerStack::create(backend, std::move(config), std::move(weights), std::move(runner),
                            limits);
}

}  // namespace hlwq
