#pragma once
// Models with random weights and no files: to measure speed and memory, and to test, without a
// checkpoint. The weights' scales are such that activations stay finite through all layers.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/model.h"
#include "model/model_needs.h"

namespace hlwq {

// What a name such as "nemotron-30b-a3b:seed=7:skew=0.8:layers=9" asks for.
//   nemotron-30b-a3b  the shapes of Nemotron-Cascade-2-30B-A3B
//   tiny              a few hundred thousand weights, every kind of layer
//   seed=N            other weights (default 0)
//   skew=S            S > 0: some experts of each layer are chosen far more often (default 0: even)
//   layers=K          only the first K layers
struct SyntheticSpec {
  ModelConfig config;
  uint64_t seed = 0;
  double skew = 0;
  int64_t all_layers = 0;  // of the preset, whatever `layers` left of it
};

// Errors: kInvalidArgument, naming the part of `spec` and what was wanted.
[[nodiscard]] Result<SyntheticSpec> parse_synthetic_spec(std::string_view spec);

// Builds the model on `backend`, which must outlive it. Every matrix but the routers is coded with
// 5 bits in kTiled5, embeddings and head too; codes are drawn on the device. The same spec gives
// the same weights on every back end. Errors: as parse_synthetic_spec, kOutOfMemory (also before
// anything is allocated, as load_model), kInvalidArgument (limits). `home` as in LoadOptions.
[[nodiscard]] Result<std::unique_ptr<Model>> make_synthetic_model(
    std::string_view spec, Backend& backend, const StepLimits& limits,
    const SequenceBytes& sequence_bytes = {}, ExpertHome* home = nullptr);

// The same of a specification that no name has.
[[nodiscard]] Result<std::unique_ptr<Model>> make_synthetic_model(
    const SyntheticSpec& spec, Backend& backend, const StepLimits& limits,
    const SequenceBytes& sequence_bytes = {}, ExpertHome* home = nullptr);

// What such a model would take. As measure_model.
[[nodiscard]] Result<ModelNeeds> measure_synthetic_model(const SyntheticSpec& spec,
                                                         Backend& backend, const StepLimits& limits,
                                                         const SequenceBytes& sequence_bytes = {});

}  // namespace hlwq
