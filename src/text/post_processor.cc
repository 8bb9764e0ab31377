#include "text/post_processor.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "io/printable.h"
#include "text/json_fields.h"

namespace hlwq {
namespace {

using Json = nlohmann::json;

// Appends the ids that the entry `name` of `special_tokens` stands for.
Status append_special(const Json& special_tokens, const std::string& name, std::string_view place,
                      std::vector<int32_t>& ids) {
  const std::string token_place = fmt::format("{}.special_tokens", place);
  HLWQ_TRY_ASSIGN(const Json* token, object_member(special_tokens, name.c_str(), token_place));
  HLWQ_TRY_ASSIGN(const Json* list,
                  array_member(*token, "ids", fmt::format("{}.{}", token_place, printable(name))));
  for (const Json& value : *list) {
    HLWQ_TRY_ASSIGN(const int32_t id,
                    token_id(value, fmt::format("{}.{}.ids", token_place, printable(name))));
    ids.push_back(id);
  }
  return {};
}

Result<PostProcessor> from_template(const Json& json, const std::string& place) {
  HLWQ_TRY_ASSIGN(const Json* single, array_member(json, "single", place));
  HLWQ_TRY_ASSIGN(const Json* special_tokens, object_member(json, "special_tokens", place));
  PostProcessor result;
  bool text_seen = false;
  for (size_t i = 0; i < single->size(); ++i) {
    const Json& item = (*single)[i];
    const std::string item_place = fmt::format("{}.single[{}]", place, i);
    HLWQ_TRY_ASSIGN(const Json* special, optional_member(item, "SpecialToken", item_place));
    if (special != nullptr) {
      HLWQ_TRY_ASSIGN(const std::string name,
                      string_member(*special, "id", item_place + ".SpecialToken"));
      HLWQ_TRY(
          append_special(*special_tokens, name, place, text_seen ? result.after : result.before));
      continue;
    }
    HLWQ_TRY_ASSIGN(const Json* sequence, object_member(item, "Sequence", item_place));
    HLWQ_TRY_ASSIGN(const std::string id, string_member(*sequence, "id", item_place + ".Sequence"));
    if (id != "A" || text_seen) {
      return fail(ErrorCode::kBadLayout,
                  fmt::format("{}: a single template holds sequence A once, got {}", item_place,
                              text_seen ? "a second one" : printable(id)));
    }
    text_seen = true;
  }
  if (!text_seen) {
    return fail(ErrorCode::kBadLayout, fmt::format("{}.single: holds no sequence A", place));
  }
  return result;
}

Result<PostProcessor> from_step(const Json& json, const std::string& place) {
  HLWQ_TRY_ASSIGN(const std::string type, string_member(json, "type", place));
  if (type == "ByteLevel") return PostProcessor{};  // moves offsets only
  if (type == "TemplateProcessing") return from_template(json, place);
  if (type != "Sequence") {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: type {} is not supported (ByteLevel, TemplateProcessing and "
                            "Sequence are)",
                            place, printable(type)));
  }
  HLWQ_TRY_ASSIGN(const Json* list, array_member(json, "processors", place));
  PostProcessor result;
  for (size_t i = 0; i < list->size(); ++i) {
    HLWQ_TRY_ASSIGN(const PostProcessor step,
                    from_step((*list)[i], fmt::format("{}.processors[{}]", place, i)));
    // Each step wraps what the ones before it made.
    result.before.insert(result.before.begin(), step.before.begin(), step.before.end());
    result.after.insert(result.after.end(), step.after.begin(), step.after.end());
  }
  return result;
}

}  // namespace

Result<PostProcessor> PostProcessor::from_json(const Json& json, std::string_view where) {
  if (json.is_null()) return PostProcessor{};
  return from_step(json, fmt::format("{}: post_processor", where));
}

}  // namespace hlwq
