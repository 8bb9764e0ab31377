#include "text/json_fields.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace hlwq {
namespace {

using Json = nlohmann::json;

tl::unexpected<Error> wrong_type(const Json* value, const char* key, std::string_view want,
                                 std::string_view place) {
  return fail(ErrorCode::kBadHeader,
              fmt::format("{}.{}: got {}, want {}", place, key,
                          value == nullptr ? "nothing" : value->type_name(), want));
}

}  // namespace

Result<const Json*> optional_member(const Json& object, const char* key, std::string_view place) {
  if (!object.is_object()) {
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: got {}, want an object", place, object.type_name()));
  }
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Result<const Json*> object_member(const Json& object, const char* key, std::string_view place) {
  HLWQ_TRY_ASSIGN(const Json* value, optional_member(object, key, place));
  if (value == nullptr || !value->is_object()) return wrong_type(value, key, "an object", place);
  return value;
}

Result<const Json*> array_member(const Json& object, const char* key, std::string_view place) {
  HLWQ_TRY_ASSIGN(const Json* value, optional_member(object, key, place));
  if (value == nullptr || !value->is_array()) return wrong_type(value, key, "an array", place);
  return value;
}

Result<std::string> string_member(const Json& object, const char* key, std::string_view place) {
  HLWQ_TRY_ASSIGN(const Json* value, optional_member(object, key, place));
  if (value == nullptr || !value->is_string()) return wrong_type(value, key, "a string", place);
  return value->get_ref<const std::string&>();
}

Result<bool> bool_member(const Json& object, const char* key, bool fallback,
                         std::string_view place) {
  HLWQ_TRY_ASSIGN(const Json* value, optional_member(object, key, place));
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return wrong_type(value, key, "true or false", place);
  return value->get<bool>();
}

Result<int32_t> token_id(const Json& value, std::string_view place) {
  if (!value.is_number_integer()) {
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: got {}, want a token id", place, value.type_name()));
  }
  const bool too_large = value.is_number_unsigned()
                             ? value.get<uint64_t>() >= static_cast<uint64_t>(kMostTokens)
                             : value.get<int64_t>() >= kMostTokens;
  if (too_large || value.get<int64_t>() < 0) {
    return fail(ErrorCode::kBadLayout, fmt::format("{}: token id {} is outside [0, {})", place,
                                                   value.dump(), kMostTokens));
  }
  return value.get<int32_t>();
}

}  // namespace hlwq
