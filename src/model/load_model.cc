#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "io/printable.h"
#include "model/assemble.h"
#include "model/loader.h"
#include "model/memory_plan.h"
#include "model/model.h"
#include "model/model_needs.h"
#include "model/resident_experts.h"
#include "model/tensor_names.h"

namespace hlwq {
namespace {

constexpr size_t kNamesInMessage = 8;

std::string first_names(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamesInMessage); ++i)
    text += (i == 0 ? "" : ", ") + printable(names[i]);
  if (names.size() > kNamesInMessage)
    text += fmt::format(" and {} more", names.size() - kNamesInMessage);
  return text;
}

Status refuse_unknown(const Checkpoint& checkpoint, const std::vector<std::string>& unknown) {
  if (unknown.empty()) return {};
  const bool scaled = std::any_of(unknown.begin(), unknown.end(), [](const std::string& name) {
    return name.ends_with("weight_scale") || name.ends_with("weight_scale_2") ||
           name.ends_with("input_scale");
  });
  return fail(ErrorCode::kUnsupported,
              fmt::format("{}: {} tensors do not belong to the model of config.json{}: {}",
                          checkpoint.path(), unknown.size(),
                          scaled ? " (an FP8 or FP4 release, which cannot be read)" : "",
                          first_names(unknown)));
}

void add_sources(const Checkpoint& checkpoint, std::span<const LocatedTensor> found,
                 TensorSources& sources) {
  for (const LocatedTensor& located : found)
    sources.try_emplace(located.expected->name,
                        TensorSource{&checkpoint, located.stored, located.slice});
}

// A checkpoint with the forms of its parameters; nothing of the weights has been read. It stays
// where it is, because its parts point to each other.
struct OpenedModel {
  ModelConfig config;
  std::optional<Checkpoint> checkpoint, base;
  TensorSources sources;
  std::unique_ptr<WeightLoader> loader;
};

Result<std::unique_ptr<OpenedModel>> open_model(const std::string& path,
                                                const std::string& base_path) {
  auto model = std::make_unique<OpenedModel>();
  HLWQ_TRY_ASSIGN(model->config, read_model_config(path));
  const Architecture architecture = model->config.architecture;
  const std::vector<ExpectedTensor> expected = expected_tensors(model->config);
  const std::vector<ExpectedTensor> spellings = all_spellings(architecture, expected);
  HLWQ_TRY_ASSIGN(model->checkpoint, Checkpoint::open(path, spellings));
  HLWQ_TRY_ASSIGN(TensorMap map, map_tensors(*model->checkpoint, architecture, expected));
  HLWQ_TRY(refuse_unknown(*model->checkpoint, map.unknown));
  add_sources(*model->checkpoint, map.found, model->sources);

  // The base is a checkpoint of its own, perhaps with other spellings: it supplies what is missing
  // here by the parameter's name, and nothing else.
  if (!map.missing.empty() && !base_path.empty()) {
    HLWQ_TRY_ASSIGN(model->base, Checkpoint::open(base_path, spellings));
    HLWQ_TRY_ASSIGN(TensorMap base_map, map_tensors(*model->base, architecture, expected));
    add_sources(*model->base, base_map.found, model->sources);
    std::erase_if(map.missing,
                  [&](const std::string& name) { return model->sources.contains(name); });
  }
  if (!map.missing.empty())
    return fail(
        ErrorCode::kMissing,
        fmt::format("{}: {} tensors are missing: {}; {}", path, map.missing.size(),
                    first_names(map.missing),
                    base_path.empty()
                        ? "--base DIR (the checkpoint this one was made from) can supply them"
                        : fmt::format("the base {} lacks them too", base_path)));
  HLWQ_TRY_ASSIGN(model->loader, WeightLoader::plan(model->config, model->sources));
  return model;
}

}  // namespace

Result<std::unique_ptr<Model>> load_model(const std::string& path, Backend& backend,
                                          const LoadOptions& options) {
  HLWQ_TRY_ASSIGN(const auto opened, open_model(path, options.base));
  const ModelConfig& config = opened->config;
  WeightLoader& loader = *opened->loader;
  ResidentHome resident;
  ExpertHome& home = options.home == nullptr ? resident : *options.home;
  HLWQ_TRY_ASSIGN(const size_t later,
                  prepare_memory(backend, config, options.limits, loader.bytes(), loader.coded(),
                                 home, options.sequence_bytes));
  HLWQ_TRY_ASSIGN(ModelWeights weights, loader.load(config, backend, home, options));
  return assemble(backend, config, std::move(weights), home, later, options.limits);
}

Result<ModelNeeds> measure_model(const std::string& path, Backend& backend,
                                 const LoadOptions& options) {
  HLWQ_TRY_ASSIGN(const auto opened, open_model(path, options.base));
  return measure_needs(backend, opened->config, options.limits, opened->loader->bytes(),
                       opened->loader->coded(), options.sequence_bytes);
}

}  // namespace hlwq
