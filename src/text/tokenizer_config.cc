#include "text/tokenizer_config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/file.h"
#include "io/json.h"
#include "text/json_fields.h"

namespace hlwq {
namespace {

constexpr uint64_t kMostConfigBytes = 16u << 20;

// A token is named by a string or by an object with its content.
Result<std::optional<std::string>> token_member(const Json& object, const char* key,
                                                std::string_view place) {
  HLWQ_TRY_ASSIGN(const Json* value, optional_member(object, key, place));
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) return string_member(*value, "content", fmt::format("{}.{}", place, key));
  return string_member(object, key, place);
}

Result<std::optional<std::string>> template_member(const Json& object, std::string_view place) {
  HLWQ_TRY_ASSIGN(const Json* value, optional_member(object, "chat_template", place));
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) return string_member(object, "chat_template", place);
  for (size_t i = 0; i < value->size(); ++i) {
    const std::string item_place = fmt::format("{}.chat_template[{}]", place, i);
    HLWQ_TRY_ASSIGN(const std::string name, string_member((*value)[i], "name", item_place));
    if (name == "default") return string_member((*value)[i], "template", item_place);
  }
  return std::nullopt;
}

}  // namespace

Result<TokenizerConfig> TokenizerConfig::parse(std::string_view json, std::string_view where) {
  HLWQ_TRY_ASSIGN(const Json document, parse_json(json, where));
  const std::string place = fmt::format("{}: config", where);
  TokenizerConfig config;
  HLWQ_TRY_ASSIGN(config.bos_token, token_member(document, "bos_token", place));
  HLWQ_TRY_ASSIGN(config.eos_token, token_member(document, "eos_token", place));
  HLWQ_TRY_ASSIGN(config.unk_token, token_member(document, "unk_token", place));
  HLWQ_TRY_ASSIGN(config.chat_template, template_member(document, place));
  return config;
}

Result<TokenizerConfig> TokenizerConfig::read(const std::string& folder) {
  TokenizerConfig config;
  const std::string path = folder + "/tokenizer_config.json";
  if (file_exists(path)) {
    HLWQ_TRY_ASSIGN(const std::string json, read_text_file(path, kMostConfigBytes));
    HLWQ_TRY_ASSIGN(config, parse(json, path));
  }
  const std::string template_path = folder + "/chat_template.jinja";
  if (file_exists(template_path)) {
    HLWQ_TRY_ASSIGN(config.chat_template, read_text_file(template_path, kMostConfigBytes));
  }
  return config;
}

}  // namespace hlwq
