#include "runtime/experts/hotness_file.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "io/file.h"
#include "io/json.h"

namespace hlwq {
namespace {

std::vector<float> parse(const Json& file, const HotnessShape& shape) {
  const auto is = [&](const char* key, int64_t value) {
    return file.contains(key) && file[key].is_number_integer() && file[key] == value;
  };
  if (!file.is_object() || !is("layers", shape.layers) || !is("experts", shape.experts) ||
      !file.contains("uses") || !file["uses"].is_array() ||
      file["uses"].size() != static_cast<size_t>(shape.layers))
    return {};
  std::vector<float> hotness;
  for (const Json& layer : file["uses"]) {
    if (!layer.is_array() || layer.size() != static_cast<size_t>(shape.experts)) return {};
    for (const Json& use : layer) {
      if (!use.is_number()) return {};
      const auto value = use.get<double>();
      if (!(value >= 0 && value <= 1e30)) return {};
      hotness.push_back(static_cast<float>(value));
    }
  }
  return hotness;
}

}  // namespace

std::vector<float> read_hotness(const std::string& path, const HotnessShape& shape) {
  if (!file_exists(path)) return {};
  auto file = read_json_file(path);
  std::vector<float> hotness = file ? parse(*file, shape) : std::vector<float>();
  if (hotness.empty())
    log(LogLevel::kWarning,
        fmt::format("{}: passed over: {}", path,
                    file ? fmt::format("not the use of {} experts in each of {} layers",
                                       shape.experts, shape.layers)
                         : file.error().message));
  return hotness;
}

Status write_hotness(const std::string& path, const HotnessShape& shape,
                     const std::vector<float>& hotness) {
  Json uses = Json::array();
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    Json row = Json::array();
    for (int64_t e = 0; e < shape.experts; ++e) {
      const double use = hotness[static_cast<size_t>(layer * shape.experts + e)];
      row.push_back(std::round(use * 1000) / 1000);
    }
    uses.push_back(std::move(row));
  }
  const Json file = {{"layers", shape.layers}, {"experts", shape.experts}, {"uses", uses}};
  return write_file(path, file.dump() + "\n");
}

}  // namespace hlwq
