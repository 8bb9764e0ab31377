#include "model/loader.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "io/printable.h"
#include "quant/layout.h"

namespace hlwq {

Result<std::unique_ptr<WeightLoader>> WeightLoader::plan(const ModelConfig& config,
                                                         const TensorSources& sources) {
  std::unique_ptr<WeightLoader> loader(new WeightLoader(sources));
  HLWQ_TRY(loader->find_forms(config));
  return loader;
}

std::optional<Matrix> WeightLoader::form(const std::string& name, Kind kind, int64_t rows,
                                         int64_t cols) {
  const auto it = sources_.find(name);
  HLWQ_CHECK(it != sources_.end());
  const TensorSource& source = it->second;
  const CheckpointTensor& stored = *source.stored;
  if (!stored.coded && !is_weight_float(stored.dtype)) {
    refuse({ErrorCode::kUnsupported,
            fmt::format("{}: {} has dtype {}, wanted BF16, F16 or F32", source.checkpoint->path(),
                        printable(stored.name), name_of(stored.dtype))});
    return std::nullopt;
  }
  Matrix matrix{.rows = rows, .cols = cols, .dtype = DType::kF32};
  if (!stored.coded) {
    if (kind != Kind::kValues) matrix.dtype = stored.dtype;
  } else if (kind == Kind::kMatrix && !stored.coded->flat) {
    matrix.grid = grid_of(source);
    if (matrix.grid == nullptr) return std::nullopt;
    matrix.layout = layout_for(*matrix.grid);
  }
  used_.push_back(source);
  return matrix;
}

const LevelGrid* WeightLoader::grid_of(const TensorSource& source) {
  const Levels& levels = source.checkpoint->levels(*source.stored);
  if (const auto known = grids_.find(levels); known != grids_.end()) return known->second;
  auto grid = snap_to_grid(levels);
  if (!grid) {
    refuse({grid.error().code, fmt::format("{}: {}: {}", source.checkpoint->path(),
                                           printable(source.stored->name), grid.error().message)});
    return nullptr;
  }
  if (grid->snap_db > 0)
    log(LogLevel::kInfo,
        fmt::format("{}: the {}-bit table of {} is not on the integer grid; rounding it costs "
                    "{:.3f} dB",
                    source.checkpoint->path(), grid->bits, printable(source.stored->name),
                    grid->snap_db));
  weights_.grids.push_back(std::make_unique<const LevelGrid>(*grid));
  return grids_[levels] = weights_.grids.back().get();
}

Result<ModelWeights> WeightLoader::load(const ModelConfig& config, Backend& backend,
                                        ExpertHome& home, const LoadOptions& options) {
  HLWQ_TRY(place(config, backend, home));
  HLWQ_CHECK(used_.size() == parameters().size());
  std::vector<WeightToRead> weights;
  weights.reserve(used_.size());
  for (size_t i = 0; i < used_.size(); ++i) {
    const PlacedParameter& parameter = parameters()[i];
    weights.push_back({.source = used_[i], .matrix = parameter.form, .device = device_of(i)});
    if (options.placed) options.placed(parameter.name, parameter.form);
  }
  HLWQ_TRY(read_weights(weights, backend, options.load_threads, options.progress));
  return std::move(weights_);
}

}  // namespace hlwq
