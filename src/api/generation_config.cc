#include "api/generation_config.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "api/check_options.h"
#include "io/file.h"
#include "io/json.h"

namespace hlwq {
namespace {

tl::unexpected<Error> wrong(const std::string& path, const char* key, const char* wanted) {
  return fail(ErrorCode::kBadHeader, fmt::format("{}: {}: wanted {}", path, key, wanted));
}

template <typename T>
Status read_number(const Json& json, const std::string& path, const char* key,
                   std::optional<T>& out) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return {};
  if (!it->is_number() || (std::is_integral_v<T> && !it->is_number_integer()))
    return wrong(path, key, std::is_integral_v<T> ? "a whole number" : "a number");
  out = it->template get<T>();
  return {};
}

Status read_stop_ids(const Json& json, const std::string& path, std::vector<int32_t>& out) {
  const auto it = json.find("eos_token_id");
  if (it == json.end() || it->is_null()) return {};
  const auto add = [&](const Json& id) -> Status {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > std::numeric_limits<int32_t>::max())
      return wrong(path, "eos_token_id", "a token id or a list of them");
    out.push_back(id.get<int32_t>());
    return {};
  };
  if (!it->is_array()) return add(*it);
  for (const Json& id : *it) HLWQ_TRY(add(id));
  return {};
}

}  // namespace

Result<GenerationConfig> read_generation_config(const std::string& folder) {
  GenerationConfig config;
  const std::string path = folder + "/generation_config.json";
  if (!file_exists(path)) return config;
  HLWQ_TRY_ASSIGN(const Json json, read_json_file(path));
  if (!json.is_object())
    return fail(ErrorCode::kBadHeader, fmt::format("{}: wanted a JSON object", path));
  SamplingOptions& sampling = config.sampling;
  HLWQ_TRY(read_number(json, path, "temperature", sampling.temperature));
  HLWQ_TRY(read_number(json, path, "top_k", sampling.top_k));
  HLWQ_TRY(read_number(json, path, "top_p", sampling.top_p));
  HLWQ_TRY(read_number(json, path, "min_p", sampling.min_p));
  HLWQ_TRY(read_number(json, path, "repetition_penalty", sampling.repeat_penalty));
  HLWQ_TRY(read_stop_ids(json, path, config.stop_ids));
  if (const auto it = json.find("do_sample"); it != json.end() && !it->is_null()) {
    if (!it->is_boolean()) return wrong(path, "do_sample", "true or false");
    if (!it->get<bool>()) sampling.temperature = 0.0;
  }
  if (const Status checked = check_options(sampling); !checked)
    return fail(ErrorCode::kBadHeader, fmt::format("{}: {}", path, checked.error().message));
  return config;
}

}  // namespace hlwq
