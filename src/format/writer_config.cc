// polar_config.json as the writer profiles have it (docs/format.md#config).

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "format/writer_plan.h"
#include "quant/block.h"

namespace hlwq {
namespace {

// The width that most layers have, the smaller of equals: what "bits" says of a mixed file, whose
// rows say the rest. 0 when nothing is coded.
int usual_bits(std::span<const OutputTensor> tensors) {
  std::array<size_t, kMaxBits + 1> counts{};
  for (const OutputTensor& tensor : tensors) {
    if (tensor.coded) ++counts[static_cast<size_t>(tensor.bits)];
  }
  const auto most = std::max_element(counts.begin(), counts.end());
  return *most == 0 ? 0 : static_cast<int>(most - counts.begin());
}

nlohmann::json layer_row(const OutputTensor& tensor, const ProfileLayout& layout) {
  const int64_t blocks = blocks_of(tensor.shape[1]);
  nlohmann::json row = {{"in_features", tensor.shape[1]},
                        {"out_features", tensor.shape[0]},
                        {"bits", tensor.bits},
                        {"block_size", kBlock},
                        {"in_features_padded", blocks * kBlock},
                        {"in_f_padded", blocks * kBlock},
                        {"n_blocks", blocks},
                        {"packed", false},
                        {"scale_dtype", "float16"}};
  if (packing_of(layout, tensor.bits) == Packing::kLsb) {
    if (tensor.bits == 5)
      row["packed_q5"] = true;
    else
      row["packing"] = "lsb";
  }
  return row;
}

// The table as integers and a step, when it is exactly that.
std::optional<nlohmann::json> grid_of(const Levels& levels) {
  const Result<LevelGrid> grid = snap_to_grid(levels);
  if (!grid || grid->wide) return std::nullopt;
  for (size_t k = 0; k < levels.size(); ++k) {
    if (grid->level(static_cast<int>(k)) != levels[k]) return std::nullopt;
  }
  const std::vector<int> v(grid->v.begin(), grid->v.begin() + grid->levels());
  return nlohmann::json{{"step", grid->step}, {"v", v}};
}

}  // namespace

std::string make_polar_config(std::span<const OutputTensor> tensors, const WriterOptions& options) {
  const ProfileLayout& layout = layout_of(options.profile);
  nlohmann::json config = {{"format", layout.format}, {"block_size", kBlock}};
  if (const int bits = usual_bits(tensors); bits != 0) config["bits"] = bits;
  if (!options.base_model.empty()) config["base_model"] = options.base_model;
  std::string notes;
  for (const std::string& note : options.notes) notes += (notes.empty() ? "" : "; ") + note;
  config["quantization"] = notes.empty() ? "polarengine" : notes;

  std::array<bool, kMaxBits + 1> widths{};
  for (const OutputTensor& tensor : tensors) {
    if (!tensor.coded) continue;
    widths[static_cast<size_t>(tensor.bits)] = true;
    // hlwq-q5 says the same in its meta tensors.
    if (layout.meta.empty())
      config["layers"][tensor.name.substr(0, tensor.name.size() - std::string(".weight").size())] =
          layer_row(tensor, layout);
  }
  for (int bits = kMinBits; bits <= kMaxBits; ++bits) {
    if (!widths[static_cast<size_t>(bits)]) continue;
    if (const auto grid = grid_of(options.levels_by_bits[static_cast<size_t>(bits)]))
      config["grid"][std::to_string(bits)] = *grid;
  }
  // Names come from outside and need not be UTF-8.
  return config.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace hlwq
