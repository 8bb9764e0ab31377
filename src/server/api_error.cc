#include "server/api_error.h"

#include <cctype>

namespace hlwq::server {
namespace {

std::string_view type_of(int status) {
  switch (status) {
    case 401:
    case 403:
      return "authentication_error";
    case 429:
      return "rate_limit_error";
    case 500:
    case 503:
      return "server_error";
    default:
      return "invalid_request_error";
  }
}

// "messages[3].content" of "messages[3].content: got ...".
std::string_view field_of(std::string_view message) {
  size_t end = 0;
  while (end < message.size() &&
         (std::islower(static_cast<unsigned char>(message[end])) != 0 ||
          std::isdigit(static_cast<unsigned char>(message[end])) != 0 ||
          std::string_view("_[].").find(message[end]) != std::string_view::npos))
    ++end;
  return end > 0 && message.substr(end).starts_with(": ") ? message.substr(0, end)
                                                          : std::string_view();
}

// What clients look for in "code": they make a prompt that is too long shorter, and try again.
std::string_view code_of(const Error& error) {
  return error.message.starts_with("the prompt has ") &&
                 error.message.find("the context holds") != std::string::npos
             ? "context_length_exceeded"
             : std::string_view();
}

}  // namespace

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kBadHeader:
      return 400;
    case ErrorCode::kUnsupported:
      return 422;
    case ErrorCode::kBusy:
      return 429;
    case ErrorCode::kCancelled:
    case ErrorCode::kOutOfMemory:
      return 503;
    default:
      return 500;
  }
}

nlohmann::ordered_json error_json(int status, std::string_view message, std::string_view code) {
  const std::string_view field = status < 500 ? field_of(message) : std::string_view();
  nlohmann::ordered_json error;
  error["message"] = message;
  error["type"] = type_of(status);
  error["param"] = field.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(field);
  error["code"] = code.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(code);
  return {{"error", std::move(error)}};
}

nlohmann::ordered_json error_json(const Error& error) {
  return error_json(status_of(error.code), error.message, code_of(error));
}

void answer_error(httplib::Response& response, int status, std::string_view message,
                  std::string_view code) {
  response.status = status;
  if (status == 429 || status == 503) response.set_header("Retry-After", "1");
  response.set_content(dump(error_json(status, message, code)), "application/json");
}

void answer_error(httplib::Response& response, const Error& error) {
  answer_error(response, status_of(error.code), error.message, code_of(error));
}

void answer_json(httplib::Response& response, const nlohmann::ordered_json& json) {
  response.status = 200;
  response.set_content(dump(json), "application/json");
}

std::string dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace hlwq::server
