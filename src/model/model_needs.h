#pragma once
// What a model takes of memory, known before any weight is there.

#include <cstddef>
#include <string>

#include "base/result.h"
#include "model/config.h"
#include "model/model.h"
#include "ops/backend.h"

namespace hlwq {

// Bytes. Where experts are offloaded, the embeddings lie with them.
struct ModelNeeds {
  ModelConfig config;
  bool coded = false;                                             // any coded matrix
  size_t expert_bytes = 0, embedding_bytes = 0, other_bytes = 0;  // of weights
  size_t scratch_bytes = 0;  // of the device, before the weights
  size_t later_bytes = 0;    // of the device, after them: activations, sequences, the driver's
};

// What load_model with these options would want; reads headers, no weights. The back end's scratch
// is reserved by it. Errors: as load_model of headers; kInvalidArgument (limits), kOutOfMemory
// (scratch).
[[nodiscard]] Result<ModelNeeds> measure_model(const std::string& path, Backend& backend,
                                               const LoadOptions& options);

}  // namespace hlwq
