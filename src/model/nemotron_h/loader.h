#pragma once
// From the tensors of a checkpoint to weights in a back end's memory.

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "model/config.h"
#include "model/nemotron_h/weights.h"
#include "model/tensor_names.h"
#include "ops/backend.h"

namespace hlwq::nemotron_h {

// Where one parameter is read from.
struct TensorSource {
  const Checkpoint* checkpoint = nullptr;
  const CheckpointTensor* stored = nullptr;
  int64_t slice = -1;  // >= 0: the expert's matrix in a fused 3-D tensor
};
using TensorSources = std::unordered_map<std::string, TensorSource>;  // by NVIDIA's names

// Reads every parameter of the model: matrices that are coded go into the layouts of
// quant/layout.h with their level grid, plain ones keep their type, everything else becomes FP32.
// `sources` has an entry for every expected tensor. Work is cut into row ranges that `threads`
// threads take; `progress` (may be empty) is called under a lock with the bytes read so far.
// Errors: kUnsupported (dtype), kBadValue (NaN or infinity, naming tensor and row; codes and norms
// as read_codes), kOutOfMemory, kIo.
[[nodiscard]] Result<ModelWeights> load_weights(
    const NemotronHConfig& config, const TensorSources& sources, Backend& backend, int threads,
    const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace hlwq::nemotron_h
