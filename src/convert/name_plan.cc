#include "convert/name_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/log.h"
#include "io/file.h"

namespace hlwq {
namespace {

// The expert's own name in a fused tensor "X.experts.up_proj": "X.experts.7.up_proj.weight".
std::string expert_name(std::string_view fused, int64_t expert) {
  const size_t dot = fused.rfind('.');
  return fmt::format("{}.{}.{}.weight", fused.substr(0, dot), expert, fused.substr(dot + 1));
}

bool is_fused_experts(const CheckpointTensor& tensor) {
  if (tensor.coded || tensor.shape.size() != 3) return false;
  const std::string_view name = tensor.name;
  const size_t dot = name.rfind('.');
  return dot != std::string_view::npos && name.substr(0, dot).ends_with(".experts");
}

Result<std::optional<ModelConfig>> config_of(const std::string& path) {
  if (!std::filesystem::is_directory(path) || !file_exists(path + "/config.json"))
    return std::optional<ModelConfig>();
  auto config = read_model_config(path);
  if (config) return std::optional<ModelConfig>(std::move(*config));
  if (config.error().code != ErrorCode::kUnsupported)
    return tl::unexpected<Error>(std::move(config).error());
  log(LogLevel::kWarning,
      fmt::format("{}; converting it by names and shapes alone", config.error().message));
  return std::optional<ModelConfig>();
}

}  // namespace

namespace {

// Adds what the base has of the tensors missing so far.
Status add_from_base(Source& source, const std::string& base,
                     const std::vector<ExpectedTensor>& spellings) {
  HLWQ_TRY_ASSIGN(Checkpoint opened, Checkpoint::open(base, spellings));
  source.base = std::make_unique<Checkpoint>(std::move(opened));
  HLWQ_TRY_ASSIGN(const TensorMap map,
                  map_tensors(*source.base, source.config->architecture, source.expected));
  for (const LocatedTensor& located : map.found) {
    const auto it = std::find(source.missing.begin(), source.missing.end(), located.expected->name);
    if (it == source.missing.end()) continue;
    source.tensors.push_back({located.expected->name, located.expected->shape, source.base.get(),
                              located.stored, located.slice});
    source.from_base.push_back(*it);
    source.missing.erase(it);
  }
  return {};
}

}  // namespace

Result<Source> open_source(const std::string& path, const std::string& base) {
  Source source;
  HLWQ_TRY_ASSIGN(source.config, config_of(path));
  if (!base.empty() && !source.config)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: --base needs a config.json that says which tensors there must be", path));
  std::vector<ExpectedTensor> spellings;
  if (source.config) {
    source.expected = expected_tensors(*source.config);
    spellings = all_spellings(source.config->architecture, source.expected);
  }
  HLWQ_TRY_ASSIGN(Checkpoint opened, Checkpoint::open(path, spellings));
  source.checkpoint = std::make_unique<Checkpoint>(std::move(opened));

  std::set<std::string> names;
  for (const CheckpointTensor& tensor : source.checkpoint->tensors()) {
    const std::string name =
        source.config ? canonical_name(source.config->architecture, tensor.name) : tensor.name;
    if (is_fused_experts(tensor)) {
      for (int64_t e = 0; e < tensor.shape[0]; ++e)
        source.tensors.push_back({expert_name(name, e),
                                  {tensor.shape[1], tensor.shape[2]},
                                  source.checkpoint.get(),
                                  &tensor,
                                  e});
    } else {
      source.tensors.push_back({name, tensor.shape, source.checkpoint.get(), &tensor, -1});
    }
  }
  for (const SourceTensor& tensor : source.tensors) {
    if (!names.insert(tensor.name).second)
      return fail(
          ErrorCode::kBadLayout,
          fmt::format("{}: tensor {} is there twice, under two spellings", path, tensor.name));
  }
  if (!source.config) return source;
  HLWQ_TRY_ASSIGN(TensorMap map,
                  map_tensors(*source.checkpoint, source.config->architecture, source.expected));
  source.missing = std::move(map.missing);
  source.unknown = std::move(map.unknown);
  if (!source.unknown.empty())
    log(LogLevel::kWarning,
        fmt::format("{}: {} tensors are not of the model, first {}; an engine will refuse them",
                    path, source.unknown.size(), source.unknown.front()));
  if (!base.empty() && !source.missing.empty()) HLWQ_TRY(add_from_base(source, base, spellings));
  return source;
}

Status require_complete(const Source& source, const std::string& path) {
  if (source.missing.empty()) return {};
  std::string names;
  constexpr size_t kShown = 8;
  for (size_t i = 0; i < source.missing.size() && i < kShown; ++i)
    names += (i == 0 ? "" : ", ") + source.missing[i];
  if (source.missing.size() > kShown)
    names += fmt::format(" and {} more", source.missing.size() - kShown);
  return fail(
      ErrorCode::kMissing,
      fmt::format("{}: {} tensors of the model are missing: {}; --base DIR takes them from the "
                  "original checkpoint",
                  path, source.missing.size(), names));
}

Status read_rows_f32(const SourceTensor& tensor, int64_t first_row, int64_t rows,
                     std::span<float> out) {
  const Checkpoint& checkpoint = *tensor.checkpoint;
  if (tensor.slice < 0) return checkpoint.read_f32(*tensor.stored, first_row, rows, out);
  // A fused tensor is read an expert at a time (a row of its dimension 0 is a whole expert).
  const int64_t width = tensor.shape[1];
  std::vector<float> expert(static_cast<size_t>(tensor.shape[0] * width));
  HLWQ_TRY(checkpoint.read_f32(*tensor.stored, tensor.slice, 1, expert));
  const auto begin = expert.begin() + first_row * width;
  std::copy(begin, begin + rows * width, out.begin());
  return {};
}

}  // namespace hlwq
