#pragma once
// From the tensors of a checkpoint to weights in a back end's memory.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/model.h"
#include "model/placement.h"
#include "model/read_weights.h"
#include "model/tensor_names.h"
#include "ops/backend.h"

namespace hlwq {

using TensorSources = std::unordered_map<std::string, TensorSource>;  // by canonical names

// Matrices that are coded go into the layouts of quant/layout.h with their level grid, plain ones
// keep their type, everything else becomes FP32.
class WeightLoader final : public ParameterPlacer {
 public:
  // Gives every parameter its form, from what the files say of it; reads nothing. `sources` has an
  // entry for every expected tensor. Errors: kUnsupported (dtype), kBadValue (a level table).
  static Result<std::unique_ptr<WeightLoader>> plan(const ModelConfig& config,
                                                    const TensorSources& sources);

  // Allocates and reads, as the options say; once. Errors: as read_weights, kOutOfMemory.
  [[nodiscard]] Result<ModelWeights> load(const ModelConfig& config, Backend& backend,
                                          ExpertHome& home, const LoadOptions& options);

 private:
  explicit WeightLoader(const TensorSources& sources) : sources_(sources) {}

  std::optional<Matrix> form(const std::string& name, Kind kind, int64_t rows,
                             int64_t cols) override;
  // The level grid of a coded tensor: one for all tensors with the same table. Null after refuse().
  const LevelGrid* grid_of(const TensorSource& source);

  const TensorSources& sources_;
  std::map<Levels, const LevelGrid*> grids_;
  std::vector<TensorSource> used_;  // of each parameter
};

}  // namespace hlwq
