#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/printable.h"
#include "model/architecture.h"

namespace hlwq {
namespace {

// Which architecture the file says it is of; null after a refusal.
const ArchitectureTraits* find_architecture(ConfigFields& fields) {
  const std::string type = fields.string({"model_type"}, "");
  const Json* names = fields.find({"architectures"});
  const auto named = [&](const ArchitectureTraits& traits) {
    return names != nullptr && names->is_array() &&
           std::any_of(names->begin(), names->end(), [&](const Json& name) {
             return name.is_string() && name.get_ref<const std::string&>() == traits.class_name;
           });
  };
  std::string known;
  for (const ArchitectureTraits* traits : architectures()) {
    if (type == traits->model_type || (type.empty() && named(*traits))) return traits;
    known += fmt::format("{}{} ({})", known.empty() ? "" : " or ", traits->model_type,
                         traits->class_name);
  }
  fields.refuse(ErrorCode::kUnsupported,
                fmt::format("model_type is \"{}\" and architectures is {}, wanted {}",
                            printable(type), names ? ConfigFields::text(*names) : "absent", known));
  return nullptr;
}

// Only this project's codes are read; other quantized releases (FP8, NVFP4, GPTQ, ...) are named.
void check_quantization(ConfigFields& fields) {
  const Json* quantization = fields.find({"quantization_config", "compression_config"});
  if (quantization == nullptr) return;
  if (!quantization->is_object())
    return fields.wanted({"quantization_config"}, *quantization, "an object");
  const auto it = quantization->find("quant_method");
  if (it != quantization->end() && (*it == "polarengine" || *it == "polar" || *it == "hlwq"))
    return;
  fields.refuse(
      ErrorCode::kUnsupported,
      fmt::format("quantization_config has quant_method {}: this quantized release cannot "
                  "be read; use the BF16 checkpoint or an HLWQ one",
                  it == quantization->end() ? "absent" : ConfigFields::text(*it)));
}

}  // namespace

int64_t ModelConfig::count(LayerKind kind) const {
  return std::count_if(layers.begin(), layers.end(),
                       [&](const LayerConfig& layer) { return layer.kind == kind; });
}

int64_t ModelConfig::published_layers() const {
  return static_cast<int64_t>(layers.size()) / traits_of(architecture).mixers_of_layer;
}

Result<ModelConfig> parse_model_config(const Json& file, std::string_view where) {
  if (!file.is_object())
    return fail(ErrorCode::kBadHeader, fmt::format("{}: wanted a JSON object", where));
  // Vision-language packages hold the language model's configuration in an object of its own.
  const Json* inner = &file;
  std::string inner_where(where);
  for (const char* key : {"llm_config", "text_config"}) {
    const auto it = file.find(key);
    if (inner == &file && it != file.end() && it->is_object()) {
      inner = &*it;
      inner_where = fmt::format("{}: {}", where, key);
    }
  }
  ConfigFields outer_fields(file, std::string(where));
  check_quantization(outer_fields);
  HLWQ_TRY(outer_fields.status());

  ConfigFields fields(*inner, inner_where);
  const ArchitectureTraits* const traits = find_architecture(fields);
  HLWQ_TRY(fields.status());
  check_quantization(fields);
  ModelConfig config;
  config.architecture = traits->architecture;
  traits->parse(fields, config);
  HLWQ_TRY(fields.status());
  return config;
}

Result<ModelConfig> read_model_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  HLWQ_TRY_ASSIGN(const Json json, read_json_file(path));
  return parse_model_config(json, path);
}

}  // namespace hlwq
