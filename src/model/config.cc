#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/checked.h"
#include "io/printable.h"

namespace hlwq {
namespace {

// Limits on numbers from outside. They are far above every published model, and low enough that
// widths, offsets and lists of names computed from them cannot overflow or eat the memory.
constexpr int64_t kMostDimension = (int64_t{1} << 31) - 1;
constexpr int64_t kMostLayers = 4096;
constexpr int64_t kMostExpertsOfModel = int64_t{1} << 20;  // experts x MoE layers
constexpr int64_t kMostStateFloats = int64_t{1} << 40;     // of one layer and sequence

using Names = std::initializer_list<const char*>;

// Typed reads of one JSON object. The first problem is kept and the reads go on with the default,
// so that the parser below is a plain list of keys.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  [[nodiscard]] Status status() const {
    if (error_) return tl::unexpected<Error>(*error_);
    return {};
  }
  void refuse(ErrorCode code, const std::string& message) {
    if (!error_) error_ = Error{code, fmt::format("{}: {}", where_, message)};
  }

  // The value under one of the names; null counts as absent. Aliases must agree.
  [[nodiscard]] const Json* find(Names names) {
    const Json* found = nullptr;
    const char* found_name = nullptr;
    for (const char* name : names) {
      const auto it = object_.find(name);
      if (it == object_.end() || it->is_null()) continue;
      if (found != nullptr && *found != *it)
        refuse(ErrorCode::kBadHeader, fmt::format("{} is {} and {} is {}: they mean the same",
                                                  found_name, text(*found), name, text(*it)));
      if (found == nullptr) found = &*it, found_name = name;
    }
    return found;
  }

  [[nodiscard]] bool is_null(const char* name) const {
    const auto it = object_.find(name);
    return it != object_.end() && it->is_null();
  }

  [[nodiscard]] int64_t integer(Names names, int64_t fallback, int64_t least = 1,
                                int64_t most = kMostDimension) {
    const Json* value = find(names);
    if (value == nullptr) return fallback;
    if (const auto number = as_integer(*value); number && *number >= least && *number <= most)
      return *number;
    return wanted(names, *value, fmt::format("an integer in [{}, {}]", least, most)), fallback;
  }

  [[nodiscard]] double real(Names names, double fallback, double least, double most) {
    const Json* value = find(names);
    if (value == nullptr) return fallback;
    if (value->is_number()) {
      const double number = value->get<double>();
      if (number >= least && number <= most) return number;  // false for NaN
    }
    return wanted(names, *value, fmt::format("a number in [{}, {}]", least, most)), fallback;
  }

  [[nodiscard]] bool flag(Names names, bool fallback) {
    const Json* value = find(names);
    if (value == nullptr) return fallback;
    if (value->is_boolean()) return value->get<bool>();
    return wanted(names, *value, "true or false"), fallback;
  }

  [[nodiscard]] std::string string(Names names, std::string fallback) {
    const Json* value = find(names);
    if (value == nullptr) return fallback;
    if (value->is_string()) return value->get<std::string>();
    return wanted(names, *value, "a string"), fallback;
  }

  // Token ids: a number or a list of numbers below `vocabulary`.
  [[nodiscard]] std::vector<int32_t> token_ids(Names names, int64_t vocabulary) {
    const Json* value = find(names);
    std::vector<int32_t> ids;
    if (value == nullptr) return ids;
    const auto add = [&](const Json& id) {
      const auto number = as_integer(id);
      if (number && *number >= 0 && *number < vocabulary)
        ids.push_back(static_cast<int32_t>(*number));
      else
        wanted(names, id, fmt::format("a token id below vocab_size ({})", vocabulary));
    };
    if (!value->is_array())
      add(*value);
    else
      std::for_each(value->begin(), value->end(), add);
    return ids;
  }

  void wanted(Names names, const Json& got, const std::string& what) {
    refuse(ErrorCode::kBadHeader,
           fmt::format("{} is {}, wanted {}", *names.begin(), text(got), what));
  }

  [[nodiscard]] static std::optional<int64_t> as_integer(const Json& value) {
    if (value.is_number_unsigned()) {
      const auto number = value.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(number);
    }
    if (value.is_number_integer()) return value.get<int64_t>();
    return std::nullopt;
  }

  // A value as it may appear in a message: one line, not too long.
  [[nodiscard]] static std::string text(const Json& value) {
    return printable(value.dump(-1, ' ', false, Json::error_handler_t::replace), 80);
  }

 private:
  const Json& object_;
  std::string where_;
  std::optional<Error> error_;
};

// Both spellings of transformers' list.
std::optional<LayerKind> kind_of_word(std::string_view word) {
  if (word == "mamba" || word == "linear_attention") return LayerKind::kMamba;
  if (word == "attention" || word == "full_attention") return LayerKind::kAttention;
  if (word == "moe") return LayerKind::kMoe;
  if (word == "mlp") return LayerKind::kMlp;
  return std::nullopt;
}

std::vector<LayerKind> parse_pattern(Fields& fields, const Json& pattern) {
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

std::vector<LayerKind> parse_kind_list(Fields& fields, const Json& list) {
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
                                kinds.size(), Fields::text(word)));
      break;
    }
    kinds.push_back(*kind);
  }
  return kinds;
}

// The kind of each layer. The string rules; a list beside it must say the same.
std::vector<LayerKind> parse_layer_kinds(Fields& fields) {
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

void check_divides(Fields& fields, std::string_view what, int64_t value, std::string_view by_what,
                   int64_t by) {
  if (value % by != 0)
    fields.refuse(ErrorCode::kBadHeader,
                  fmt::format("{} is {}, not a multiple of {} ({})", what, value, by_what, by));
}

void check_product(Fields& fields, std::string_view what, std::span<const int64_t> factors,
                   int64_t most = kMostDimension) {
  const auto product = checked_product(factors);
  if (!product || *product > static_cast<uint64_t>(most))
    fields.refuse(ErrorCode::kBadHeader,
                  fmt::format("{}: {} is larger than {}", what, fmt::join(factors, " x "), most));
}

void parse_attention(Fields& fields, ModelConfig& config) {
  AttentionShape& a = config.attention;
  a.heads = fields.integer({"num_attention_heads"}, 32);
  // The published default is 8 when the key is absent; an explicit null means as many as queries.
  a.kv_heads =
      fields.integer({"num_key_value_heads"}, fields.is_null("num_key_value_heads") ? a.heads : 8);
  a.head_dim = fields.integer({"head_dim", "attention_head_dim"}, 128);
  config.attention_bias = fields.flag({"attention_bias"}, false);
  check_divides(fields, "num_attention_heads", a.heads, "num_key_value_heads", a.kv_heads);
  check_product(fields, "num_attention_heads x head_dim", std::array{a.heads, a.head_dim});
  if (const Json* window = fields.find({"sliding_window"}))
    fields.refuse(
        ErrorCode::kUnsupported,
        fmt::format("sliding_window is {}, only null is supported", Fields::text(*window)));
}

void parse_mamba(Fields& fields, ModelConfig& config) {
  MambaShape& m = config.mamba;
  m.heads = fields.integer({"mamba_num_heads"}, 128);
  m.head_dim = fields.integer({"mamba_head_dim"}, 64);
  m.state = fields.integer({"ssm_state_size"}, 128);
  m.groups = fields.integer({"n_groups", "mamba_n_groups"}, 8);
  m.kernel = fields.integer({"conv_kernel", "mamba_d_conv"}, 4, 2, 256);
  config.conv_bias = fields.flag({"use_conv_bias", "mamba_conv_bias"}, true);
  config.mamba_bias = fields.flag({"use_bias"}, false);
  check_divides(fields, "mamba_num_heads", m.heads, "n_groups", m.groups);
  check_product(fields, "mamba_num_heads x mamba_head_dim x ssm_state_size",
                std::array{m.heads, m.head_dim, m.state}, kMostStateFloats);
  check_product(fields, "mamba_num_heads x mamba_head_dim", std::array{m.heads, m.head_dim},
                kMostDimension / 4);
  check_product(fields, "n_groups x ssm_state_size", std::array{m.groups, m.state},
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

MoeConfig parse_moe(Fields& fields) {
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
  check_divides(fields, "n_routed_experts", moe.experts, "n_group", moe.groups);
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
std::vector<int64_t> parse_mlp_widths(Fields& fields, int64_t mlp_layers) {
  const Json* value = fields.find({"intermediate_size"});
  const auto count = static_cast<size_t>(mlp_layers);
  if (value == nullptr || !value->is_array())
    return std::vector<int64_t>(count, fields.integer({"intermediate_size"}, 21504));
  std::vector<int64_t> widths;
  for (const Json& width : *value) {
    const auto number = Fields::as_integer(width);
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

void check_architecture(Fields& fields) {
  const std::string type = fields.string({"model_type"}, "");
  const Json* architectures = fields.find({"architectures"});
  const bool named =
      architectures != nullptr && architectures->is_array() &&
      std::any_of(architectures->begin(), architectures->end(), [](const Json& a) {
        return a.is_string() && a.get_ref<const std::string&>() == "NemotronHForCausalLM";
      });
  if (type == "nemotron_h" || (type.empty() && named)) return;
  fields.refuse(
      ErrorCode::kUnsupported,
      fmt::format("model_type is \"{}\" and architectures is {}, wanted nemotron_h "
                  "(NemotronHForCausalLM)",
                  printable(type), architectures ? Fields::text(*architectures) : "absent"));
}

// Only this project's codes are read; other quantized releases (FP8, NVFP4, GPTQ, ...) are named.
void check_quantization(Fields& fields) {
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
                  it == quantization->end() ? "absent" : Fields::text(*it)));
}

void parse_layers(Fields& fields, ModelConfig& config) {
  const std::vector<LayerKind> kinds = parse_layer_kinds(fields);
  const auto count = [&](LayerKind kind) { return std::count(kinds.begin(), kinds.end(), kind); };
  if (count(LayerKind::kAttention) > 0) parse_attention(fields, config);
  if (count(LayerKind::kMamba) > 0) parse_mamba(fields, config);
  MoeConfig moe;
  if (count(LayerKind::kMoe) > 0) moe = parse_moe(fields);
  check_product(fields, "n_routed_experts x MoE layers",
                std::array<int64_t, 2>{moe.experts, count(LayerKind::kMoe)}, kMostExpertsOfModel);
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

int64_t ModelConfig::count(LayerKind kind) const {
  return std::count_if(layers.begin(), layers.end(),
                       [&](const LayerConfig& layer) { return layer.kind == kind; });
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
  Fields outer_fields(file, std::string(where));
  check_quantization(outer_fields);
  HLWQ_TRY(outer_fields.status());

  Fields fields(*inner, inner_where);
  check_architecture(fields);
  HLWQ_TRY(fields.status());
  check_quantization(fields);
  ModelConfig config;
  config.vocabulary = fields.integer({"vocab_size"}, 131072);
  config.hidden = fields.integer({"hidden_size"}, 4096);
  config.eps =
      static_cast<float>(fields.real({"layer_norm_epsilon", "norm_eps"}, 1e-5, 1e-30, 1.0));
  config.tied_head = fields.flag({"tie_word_embeddings"}, false);
  config.max_positions = fields.integer({"max_position_embeddings"}, 4096);
  config.eos = fields.token_ids({"eos_token_id"}, config.vocabulary);
  if (const auto ids = fields.token_ids({"bos_token_id"}, config.vocabulary); !ids.empty())
    config.bos = ids.front();
  if (const auto ids = fields.token_ids({"pad_token_id"}, config.vocabulary); !ids.empty())
    config.pad = ids.front();
  parse_layers(fields, config);
  HLWQ_TRY(fields.status());
  return config;
}

Result<ModelConfig> read_model_config(const std::string& folder) {
  const std::string path = folder + "/config.json";
  HLWQ_TRY_ASSIGN(const Json json, read_json_file(path));
  return parse_model_config(json, path);
}

}  // namespace hlwq
