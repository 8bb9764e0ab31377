// config.json of LlamaForCausalLM (docs/format.md#configjson).

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "io/printable.h"
#include "model/llama/llama.h"

namespace hlwq::llama {
namespace {

constexpr int64_t kMostHeadDim = 65536;
constexpr double kMostPositions = 1e12;

// A value that must be what this engine does; absent counts as that.
void require_number(ConfigFields& fields, const char* key, double supported) {
  const Json* const value = fields.find({key});
  if (value == nullptr || (value->is_number() && value->get<double>() == supported)) return;
  fields.refuse(ErrorCode::kUnsupported, fmt::format("{} is {}, only {} is supported", key,
                                                     ConfigFields::text(*value), supported));
}

// "rope_type", or "type" in older files.
void parse_scaling(ConfigFields& fields, RopeConfig& rope) {
  const std::string type = fields.string({"rope_type", "type"}, "default");
  if (type == "default") return;
  if (type == "linear") {
    rope.scaling = RopeConfig::Scaling::kLinear;
  } else if (type == "llama3") {
    rope.scaling = RopeConfig::Scaling::kLlama3;
  } else {
    return fields.refuse(
        ErrorCode::kUnsupported,
        fmt::format("rope_type is \"{}\", wanted default, linear or llama3", printable(type)));
  }
  // No default: a model scaled by a guess answers nonsense far from its beginning.
  const auto required = [&](const char* key, double least, double most) {
    if (fields.find({key}) == nullptr)
      fields.refuse(ErrorCode::kBadHeader,
                    fmt::format("{} is absent, which rope_type {} needs", key, type));
    return fields.real({key}, 1.0, least, most);
  };
  rope.factor = required("factor", 1.0, 1e6);
  if (rope.scaling == RopeConfig::Scaling::kLinear) return;
  rope.low_freq_factor = required("low_freq_factor", 1e-6, 1e6);
  rope.high_freq_factor = required("high_freq_factor", 1e-6, 1e6);
  rope.original_positions = required("original_max_position_embeddings", 1.0, kMostPositions);
  if (rope.high_freq_factor <= rope.low_freq_factor)
    fields.refuse(ErrorCode::kBadHeader,
                  fmt::format("high_freq_factor is {}, not above low_freq_factor ({})",
                              rope.high_freq_factor, rope.low_freq_factor));
}

// The base is beside the scaling, or in one object with it.
RopeConfig parse_rope(ConfigFields& fields) {
  constexpr double kLeastTheta = 1.0, kMostTheta = 1e15;
  RopeConfig rope;
  const bool beside = fields.find({"rope_theta"}) != nullptr;
  rope.theta = fields.real({"rope_theta"}, rope.theta, kLeastTheta, kMostTheta);
  require_number(fields, "partial_rotary_factor", 1.0);
  const Json* const object = fields.find({"rope_parameters", "rope_scaling"});
  if (object == nullptr) return rope;
  if (!object->is_object()) {
    fields.wanted({"rope_scaling"}, *object, "an object");
    return rope;
  }
  ConfigFields inner = fields.inside(*object, "rope_scaling");
  const double theta = inner.real({"rope_theta"}, rope.theta, kLeastTheta, kMostTheta);
  if (beside && theta != rope.theta)
    inner.refuse(ErrorCode::kBadHeader,
                 fmt::format("rope_theta is {}, beside it {}", theta, rope.theta));
  rope.theta = theta;
  require_number(inner, "partial_rotary_factor", 1.0);
  parse_scaling(inner, rope);
  fields.take_status(inner);
  return rope;
}

void parse_attention(ConfigFields& fields, ModelConfig& config) {
  AttentionShape& a = config.attention;
  a.heads = fields.integer({"num_attention_heads"}, 32);
  a.kv_heads = fields.integer({"num_key_value_heads"}, a.heads);
  if (fields.find({"head_dim"}) == nullptr)
    fields.check_divides("hidden_size", config.hidden, "num_attention_heads", a.heads);
  a.head_dim =
      fields.integer({"head_dim"}, std::max<int64_t>(config.hidden / a.heads, 1), 1, kMostHeadDim);
  fields.check_divides("num_attention_heads", a.heads, "num_key_value_heads", a.kv_heads);
  fields.check_divides("head_dim", a.head_dim, "rotary pairs", 2);
  // q, k and v lie one after the other.
  fields.check_product("num_attention_heads x head_dim", std::array{a.heads, a.head_dim},
                       kMostDimension / 4);
  config.attention_bias = fields.flag({"attention_bias"}, false);
  config.rope = parse_rope(fields);
  if (const Json* window = fields.find({"sliding_window"}))
    fields.refuse(
        ErrorCode::kUnsupported,
        fmt::format("sliding_window is {}, only null is supported", ConfigFields::text(*window)));
  if (const Json* types = fields.find({"layer_types"})) {
    const bool full =
        types->is_array() && std::all_of(types->begin(), types->end(),
                                         [](const Json& type) { return type == "full_attention"; });
    if (!full)
      fields.refuse(ErrorCode::kUnsupported,
                    fmt::format("layer_types is {}, only full_attention is supported",
                                ConfigFields::text(*types)));
  }
}

}  // namespace

void parse_config(ConfigFields& fields, ModelConfig& config) {
  read_common_keys(fields, {.vocabulary = 32000, .hidden = 4096, .positions = 2048}, config);
  config.eps = static_cast<float>(fields.real({"rms_norm_eps"}, 1e-6, 1e-30, 1.0));
  parse_attention(fields, config);
  const int64_t layers =
      fields.integer({"num_hidden_layers"}, 32, 1, kMostLayers / kTraits.mixers_of_layer);
  // Gate and up lie one after the other.
  const int64_t width = fields.integer({"intermediate_size"}, 11008, 1, kMostDimension / 2);
  config.mlp_bias = fields.flag({"mlp_bias"}, false);
  if (const std::string act = fields.string({"hidden_act"}, "silu"); act != "silu")
    fields.refuse(ErrorCode::kUnsupported,
                  fmt::format("hidden_act is \"{}\", wanted \"silu\"", printable(act)));
  for (int64_t l = 0; l < layers; ++l) {
    config.layers.push_back({.kind = LayerKind::kAttention, .mlp_width = 0, .moe = {}});
    config.layers.push_back({.kind = LayerKind::kGatedMlp, .mlp_width = width, .moe = {}});
  }
}

}  // namespace hlwq::llama
