#include "format/polar_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "io/json.h"
#include "io/printable.h"
#include "quant/block.h"

namespace hlwq {
namespace {

constexpr int64_t kMostFeatures = int64_t{1} << 40;
constexpr int kMostRuleBits = 32;  // rules may name kept tensors, "16"

// Member `key` of an object; null counts as absent.
const Json* member(const Json& object, std::string_view key) {
  const auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Result<int64_t> integer(const Json& value, std::string_view where, std::string_view key,
                        int64_t least, int64_t most) {
  if (!value.is_number_integer())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: {} is {}, want an integer", where, key, value.type_name()));
  const bool fits = value.is_number_unsigned()
                        ? value.get<uint64_t>() <= static_cast<uint64_t>(most)
                        : value.get<int64_t>() <= most;
  if (!fits || (!value.is_number_unsigned() && value.get<int64_t>() < least) ||
      (value.is_number_unsigned() && least > 0 &&
       value.get<uint64_t>() < static_cast<uint64_t>(least)))
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: {} is {}, want {} to {}", where, key, value.dump(), least, most));
  return value.get<int64_t>();
}

template <typename T>
Status read_integer(const Json& object, std::string_view where, std::string_view key, int64_t most,
                    std::optional<T>& out) {
  const Json* value = member(object, key);
  if (value == nullptr) return {};
  HLWQ_TRY_ASSIGN(const int64_t number, integer(*value, where, key, 1, most));
  out = static_cast<T>(number);
  return {};
}

Status read_flag(const Json& object, std::string_view where, std::string_view key,
                 std::optional<bool>& out) {
  const Json* value = member(object, key);
  if (value == nullptr) return {};
  if (!value->is_boolean())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: {} is {}, want true or false", where, key, value->type_name()));
  out = value->get<bool>();
  return {};
}

// Informative text may be anything: what is not a string is left out.
std::string text_of(const Json& object, std::string_view key) {
  const Json* value = member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

Status check_block_size(const Json& object, std::string_view where) {
  std::optional<int64_t> block_size;
  HLWQ_TRY(read_integer(object, where, "block_size", kMostFeatures, block_size));
  if (block_size && *block_size != kBlock)
    return fail(ErrorCode::kUnsupported, fmt::format("{}: block_size is {}; only {} is supported",
                                                     where, *block_size, kBlock));
  return {};
}

Result<PolarLayerRow> parse_row(const Json& json, std::string_view where) {
  if (!json.is_object())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: is {}, want an object", where, json.type_name()));
  PolarLayerRow row;
  HLWQ_TRY(check_block_size(json, where));
  HLWQ_TRY(read_integer(json, where, "in_features", kMostFeatures, row.in_features));
  HLWQ_TRY(read_integer(json, where, "out_features", kMostFeatures, row.out_features));
  HLWQ_TRY(read_integer(json, where, "n_blocks", kMostFeatures, row.blocks));
  HLWQ_TRY(read_integer(json, where, "bits", kMostRuleBits, row.bits));
  HLWQ_TRY(read_integer(json, where, "in_features_padded", kMostFeatures, row.padded));
  std::optional<int64_t> padded;
  HLWQ_TRY(read_integer(json, where, "in_f_padded", kMostFeatures, padded));
  if (padded && row.padded && *padded != *row.padded)
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: in_features_padded is {} and in_f_padded is {}", where,
                            *row.padded, *padded));
  if (padded) row.padded = padded;
  HLWQ_TRY(read_flag(json, where, "packed", row.packed));
  HLWQ_TRY(read_flag(json, where, "packed_q5", row.packed_q5));
  if (const Json* packing = member(json, "packing"); packing != nullptr) {
    if (!packing->is_string() || packing->get<std::string>() != "lsb")
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("{}: packing is {}; only \"lsb\" is known", where,
                      printable(packing->dump(-1, ' ', true, Json::error_handler_t::replace))));
    row.lsb = true;
  }
  return row;
}

constexpr std::string_view kFormats[] = {"polar_engine_v4", "polar_engine_v5", "hlwq-q5", "hlwq-q4",
                                         "hlwq-q3"};

std::string known_format(std::string_view text, std::string_view where) {
  // Model cards spell the names of the code without the first underscore.
  std::string name(text);
  if (name.starts_with("polarengine_")) name.replace(0, 11, "polar_engine");
  if (std::ranges::find(kFormats, name) != std::end(kFormats)) return name;
  log(LogLevel::kWarning,
      fmt::format("{}: unknown format \"{}\"; going by the tensors alone", where, printable(text)));
  return "";
}

}  // namespace

const PolarLayerRow* PolarConfig::row(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) {
    const auto it = layers.find(key);
    if (it != layers.end()) return &it->second;
  }
  return nullptr;
}

std::optional<int> PolarConfig::bits_by_rule(std::string_view key) const {
  for (const auto& [substring, width] : bit_assignment) {
    if (key.find(substring) != std::string_view::npos) return width;
  }
  if (bits) return bits;
  if (format.starts_with("hlwq-q")) return format.back() - '0';
  return std::nullopt;
}

Result<PolarConfig> parse_polar_config(std::string_view text, std::string_view where) {
  HLWQ_TRY_ASSIGN(const Json json, parse_json(text, where));
  if (!json.is_object())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: is {}, want an object", where, json.type_name()));
  if (json.contains("quantization_method") || json.contains("weight_format"))
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: describes a pickled torchao INT4 state dict (model_int4.pt), which "
                    "holds no HLWQ codes; quantize the base model instead",
                    where));

  PolarConfig config;
  config.where = where;
  HLWQ_TRY(check_block_size(json, where));
  if (const Json* format = member(json, "format")) {
    if (!format->is_string())
      return fail(ErrorCode::kBadHeader,
                  fmt::format("{}: format is {}, want a string", where, format->type_name()));
    config.format = known_format(format->get<std::string>(), where);
  }
  config.quantization = text_of(json, "quantization");
  config.base_model = text_of(json, "base_model");
  HLWQ_TRY(read_integer(json, where, "bits", kMostRuleBits, config.bits));

  if (const Json* rules = member(json, "bit_assignment")) {
    if (!rules->is_object())
      return fail(ErrorCode::kBadHeader, fmt::format("{}: bit_assignment is {}, want an object",
                                                     where, rules->type_name()));
    for (const auto& [substring, width] : rules->items()) {
      HLWQ_TRY_ASSIGN(
          const int64_t bits,
          integer(width, where, "bit_assignment." + printable(substring), 1, kMostRuleBits));
      config.bit_assignment.emplace_back(substring, static_cast<int>(bits));
    }
    std::ranges::stable_sort(config.bit_assignment, [](const auto& a, const auto& b) {
      return a.first.size() > b.first.size();
    });
  }
  if (const Json* layers = member(json, "layers")) {
    if (!layers->is_object())
      return fail(ErrorCode::kBadHeader,
                  fmt::format("{}: layers is {}, want an object", where, layers->type_name()));
    for (const auto& [prefix, json_row] : layers->items()) {
      HLWQ_TRY_ASSIGN(config.layers[prefix],
                      parse_row(json_row, fmt::format("{}: layers.{}", where, printable(prefix))));
    }
  }
  return config;
}

}  // namespace hlwq
