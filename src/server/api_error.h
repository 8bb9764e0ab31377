#pragma once
// Errors in the shape of OpenAI's API.

#include <httplib.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hlwq::server {

// The HTTP status of what the engine or the reading of a request reports: 400 for input, 422 for
// what is understood but not done, 429 for a full queue, 503 while closing, broken or out of
// memory, 500 for the rest.
[[nodiscard]] int status_of(ErrorCode code);

// {"error": {"message", "type", "param", "code"}}. A message that begins with a field's name and a
// colon names it in "param" too.
[[nodiscard]] nlohmann::ordered_json error_json(int status, std::string_view message,
                                                std::string_view code = {});
[[nodiscard]] nlohmann::ordered_json error_json(const Error& error);

void answer_error(httplib::Response& response, int status, std::string_view message,
                  std::string_view code = {});
void answer_error(httplib::Response& response, const Error& error);

void answer_json(httplib::Response& response, const nlohmann::ordered_json& json);
// Text that is not UTF-8 gets U+FFFD.
[[nodiscard]] std::string dump(const nlohmann::ordered_json& json);

}  // namespace hlwq::server
