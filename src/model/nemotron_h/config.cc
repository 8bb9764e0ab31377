// config.json of NemotronHForCausalLM (docs/format.md#configjson).

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "io/printable.h"
#include "model/nemotron_h/nemotron_h.h"

namespace hlwq::nemotron_h {
namespace {

constexpr int64_t kMostExpertsOfModel = int64_t{1} << 20;  // experts x MoE layers
constexpr int64_t kMostStateFloats = int64_t{1} << 40;     // of one layer and sequence

// Both spellings of transformers' list.
std::optional<LayerKind> kind_of_word(std::string_view word) {
  if (word == "mamba" || word == "linear_attention") return LayerKind::kMamba;
  if (word == "attention" || word == "full_attention") return LayerKind::kAttention;
  if (word == "moe") return LayerKind::kMoe;
  if (word == "mlp") return LayerKind::kMlp;
  return std::nullopt;
}

std::vector<LayerKind> parse_pattern(ConfigFields& fields, const Json& pattern) {
  std::vector<LayerKind> kinds;
  if (!pattern.is_string()) {
    fields.wanted({"hybrid_override_pattern"}, pattern, "a string of the letters M E * -");
    return kinds;
  }
  for (const char letter : pattern.get_ref<const std::string&>()) {
    if (std::string_view("ME*-").find(letter) == std::string_view::npos) {
      fields.refuse(ErrorCode::kUnsupported,
                    fmt::format("hybrid_override_pattern: layer {} is of the unknown kind '{}', "
                                "wanted M, E, * or -",
                                kinds.size(), printable(std::string_view(&letter, 1))));
      break;
    }
    kinds.push_back(static_cast<LayerKind>(letter));
  }
  return kinds;
}

std::vector<LayerKind> parse_kind_list(ConfigFields& fields, const Json& list) {
  std::vector<LayerKind> kinds;
  if (!list.is_array()) {
    fields.wanted({"layers_block_type"}, list, "a list of layer kinds");
    return kinds;
  }
  for (const Json& word : list) {
    const auto kind = word.is_string() ? kind_of_word(word.get_ref<const std::string&>())
                                       : std::optional<LayerKind>();
    if (!kind) {
      fields.refuse(ErrorCode::kUnsupported,
                    fmt::format("layers_block_type: layer {} is of the unknown kind {}, wanted "
                                "mamba, attention, moe or mlp",
                                kinds.size(), ConfigFields::text(word)));
      break;
    }
    kinds.push_back(*kind);
  }
  return kinds;
}

// The kind of each layer. The string rules; a list beside it must say the same.
std::vector<LayerKind> parse_layer_kinds(ConfigFields& fields) {
  const Json* pattern = fields.find({"hybrid_override_pattern"});
  const Json* list = fields.find({"layers_block_type", "layer_types"});
  std::vector<LayerKind> kinds;
  if (pattern != nullptr) kinds = parse_pattern(fields, *pattern);
  if (list != nullptr) {
    std::vector<LayerKind> listed = parse_kind_list(fields, *list);
    if (pattern != nullptr && listed != kinds)
      fields.refuse(ErrorCode::kBadHeader,
                    "hybrid_override_pattern and layers_block_type describe different layers");
    kinds = std::move(listed);
  }
  const auto layers = static_cast<int64_t>(kinds.size());
  if (layers == 0 || layers > kMostLayers)
    fields.refuse(
        ErrorCode::kBadHeader,
        fmt::format("hybrid_override_pattern or layers_block_type gives {} layers, wanted "
                    "1 to {}",
                    layers, kMostLayers));
  const int64_t said = fields.integer({"num_hidden_layers"}, layers, 0);
  if (said != layers)
    fields.refuse(ErrorCode::kBadHeader,
                  fmt::format("num_hidden_layers is {}, the layer pattern has {}", said, layers));
  return kinds;
}

void parse_attention(ConfigFields& fields, ModelConfig& config) {
  AttentionShape& a = config.attention;
  a.heads = fields.integer({"num_attention_heads"}, 32);
  // The published default is 8 when the key is absent; an explicit null means as many as queries.
  a.kv_heads =
      fields.integer({"num_key_value_heads"}, fields.is_null("num_key_value_heads") ? a.heads : 8);
  a.head_dim = fields.integer({"head_dim", "attention_head_dim"}, 128);
  config.attention_bias = fields.flag({"attention_bias"}, false);
  fields.check_divides("num_attention_heads", a.heads, "num_key_value_heads", a.kv_heads);
  fields.check_product("num_attention_heads x head_dim", std::array{a.heads, a.head_dim});
  if (const Json* window = fields.find({"sliding_window"}))
    fields.refuse(
        ErrorCode::kUnsupported,
        fmt::format("sliding_window is {}, only null is supported", ConfigFields::text(*window)));
}

void parse_mamba(ConfigFields& fields, ModelConfig& config) {
  MambaShape& m = config.mamba;
  m.heads = fields.integer({"mamba_num_heads"}, 128);
  m.head_dim = fields.integer({"mamba_head_dim"}, 64);
  m.state = fields.integer({"ssm_state_size"}, 128);
  m.groups = fields.integer({"n_groups", "mamba_n_groups"}, 8);
  m.kernel = fields.integer({"conv_kernel", "mamba_d_conv"}, 4, 2, 256);
  config.conv_bias = fields.flag({"use_conv_bias", "mamba_conv_bias"}, true);
  config.mamba_bias = fields.flag({"use_bias"}, false);
  fields.check_divides("mamba_num_heads", m.heads, "n_groups", m.groups);
  fields.check_product("mamba_num_heads x mamba_head_dim x ssm_state_size",
                       std::array{m.heads, m.head_dim, m.state}, kMostStateFloats);
  fields.check_product("mamba_num_heads x mamba_head_dim", std::array{m.heads, m.head_dim},
                       kMostDimension / 4);
  fields.check_product("n_groups x ssm_state_size", std::array{m.groups, m.state},
                       kMostDimension / 8);
  if (const std::string act = fields.string({"mamba_hidden_act"}, "silu"); act != "silu")
    fields.refuse(ErrorCode::kUnsupported,
                  fmt::format("mamba_hidden_act is \"{}\", wanted \"silu\"", printable(act)));
  const Json* limit = fields.find({"time_step_limit", "mamba_dt_limit"});
  if (limit == nullptr) return;
  const bool pair =
      limit->is_array() && limit->size() == 2 && (*limit)[0].is_number() && (*limit)[1].is_number();
  const double low = pair ? (*limit)[0].get<double>() : 0.0;
  const double high = pair ? (*limit)[1].get<double>() : 0.0;
  if (!pair || !(low <= high) || !std::isfinite(low) || high < 0)
    return fields.wanted({"time_step_limit"}, *limit, "two numbers, the smaller one first");
  config.dt_min = static_cast<float>(low);
  config.dt_max = static_cast<float>(high);
}

MoeConfig parse_moe(ConfigFields& fields) {
  MoeConfig moe;
  moe.experts =
      fields.integer({"n_routed_experts", "num_local_experts"}, 8, 1, kMostExpertsOfModel);
  moe.experts_used = fields.integer({"num_experts_per_tok"}, 2);
  moe.width = fields.integer({"moe_intermediate_size"}, 7688);
  // Implementations disagree on what a count above 1 does to the width, and no known model has one.
  const int64_t shared = fields.integer({"n_shared_experts"}, 1, 0);
  if (shared > 1)
    fields.refuse(ErrorCode::kUnsupported,
                  fmt::format("n_shared_experts is {}, wanted 0 or 1", shared));
  if (shared == 1) moe.shared_width = fields.integer({"moe_shared_expert_intermediate_size"}, 7688);
  moe.latent = fields.integer({"moe_latent_size"}, 0, 0);
  moe.groups = fields.integer({"n_group"}, 1);
  moe.groups_used = fields.integer({"topk_group"}, 1);
  moe.normalize = fields.flag({"norm_topk_prob"}, true);
  moe.scale = static_cast<float>(fields.real({"routed_scaling_factor"}, 1.0, 1e-6, 1e6));
  fields.check_divides("n_routed_experts", moe.experts, "n_group", moe.groups);
  if (moe.groups_used > moe.groups)
    fields.refuse(ErrorCode::kBadHeader, fmt::format("topk_group is {}, more than n_group ({})",
                                                     moe.groups_used, moe.groups));
  const int64_t reachable = moe.experts / moe.groups * std::min(moe.groups_used, moe.groups);
  if (moe.experts_used > reachable)
    fields.refuse(ErrorCode::kBadHeader,
                  fmt::format("num_experts_per_tok is {}, the groups of a token have {} experts",
                              moe.experts_used, reachable));
  return moe;
}

// Widths of the '-' layers: one number for all, or a list with one for each of them.
std::vector<int64_t> parse_mlp_widths(ConfigFields& fields, int64_t mlp_layers) {
  const Json* value = fields.find({"intermediate_size"});
  const auto count = static_cast<size_t>(mlp_layers);
  if (value == nullptr || !value->is_array())
    return std::vector<int64_t>(count, fields.integer({"intermediate_size"}, 21504));
  std::vector<int64_t> widths;
  for (const Json& width : *value) {
    const auto number = ConfigFields::as_integer(width);
    if (number && *number >= 1 && *number <= kMostDimension) widths.push_back(*number);
  }
  if (widths.size() != value->size() || (widths.size() != 1 && widths.size() != count)) {
    fields.wanted({"intermediate_size"}, *value,
                  fmt::format("one width or one for each of the {} MLP layers", mlp_layers));
    return std::vector<int64_t>(count, 1);
  }
  if (widths.size() == 1) widths.resize(count, widths.front());
  return widths;
}

void parse_layers(ConfigFields& fields, ModelConfig& config) {
  const std::vector<LayerKind> kinds = parse_layer_kinds(fields);
  const auto count = [&](LayerKind kind) { return std::count(kinds.begin(), kinds.end(), kind); };
  if (count(LayerKind::kAttention) > 0) parse_attention(fields, config);
  if (count(LayerKind::kMamba) > 0) parse_mamba(fields, config);
  MoeConfig moe;
  if (count(LayerKind::kMoe) > 0) moe = parse_moe(fields);
  fields.check_product("n_routed_experts x MoE layers",
                       std::array<int64_t, 2>{moe.experts, count(LayerKind::kMoe)},
                       kMostExpertsOfModel);
  std::vector<int64_t> widths;
  if (count(LayerKind::kMlp) > 0) widths = parse_mlp_widths(fields, count(LayerKind::kMlp));
  if (count(LayerKind::kMlp) + count(LayerKind::kMoe) > 0) {
    config.mlp_bias = fields.flag({"mlp_bias"}, false);
    if (const std::string act = fields.string({"mlp_hidden_act"}, "relu2"); act != "relu2")
      fields.refuse(ErrorCode::kUnsupported,
                    fmt::format("mlp_hidden_act is \"{}\", wanted \"relu2\"", printable(act)));
    if (config.mlp_bias && count(LayerKind::kMoe) > 0)
      fields.refuse(ErrorCode::kUnsupported, "mlp_bias is true in a model with experts");
  }
  size_t next_width = 0;
  for (const LayerKind kind : kinds) {
    LayerConfig layer{.kind = kind, .mlp_width = 0, .moe = {}};
    if (kind == LayerKind::kMlp) layer.mlp_width = widths[next_width++];
    if (kind == LayerKind::kMoe) layer.moe = moe;
    config.layers.push_back(layer);
  }
}

}  // namespace

void parse_config(ConfigFields& fields, ModelConfig& config) {
  read_common_keys(fields, {.vocabulary = 131072, .hidden = 4096, .positions = 4096}, config);
  config.eps =
      static_cast<float>(fields.real({"layer_norm_epsilon", "norm_eps"}, 1e-5, 1e-30, 1.0));
  parse_layers(fields, config);
}

}  // namespace hlwq::nemotron_h
