#pragma once
// Typed access to members of JSON objects, with errors that say where. `place` is the path so far,
// for example "tokenizer.json: model".

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq {

// The member `key`, or null when it is absent or the JSON value null.
// Errors (all of these): kBadHeader when `object` is not an object or the member has another type.
[[nodiscard]] Result<const nlohmann::json*> optional_member(const nlohmann::json& object,
                                                            const char* key,
                                                            std::string_view place);
// Errors of the following also when the member is absent.
[[nodiscard]] Result<const nlohmann::json*> object_member(const nlohmann::json& object,
                                                          const char* key, std::string_view place);
[[nodiscard]] Result<const nlohmann::json*> array_member(const nlohmann::json& object,
                                                         const char* key, std::string_view place);
[[nodiscard]] Result<std::string> string_member(const nlohmann::json& object, const char* key,
                                                std::string_view place);
// `fallback` when the member is absent or null.
[[nodiscard]] Result<bool> bool_member(const nlohmann::json& object, const char* key, bool fallback,
                                       std::string_view place);

inline constexpr int32_t kMostTokens = 1 << 22;  // ids a file may use; the largest known is 2^18

// A token id in [0, kMostTokens). Errors: kBadHeader (not an integer), kBadLayout (out of range).
[[nodiscard]] Result<int32_t> token_id(const nlohmann::json& value, std::string_view place);

}  // namespace hlwq
