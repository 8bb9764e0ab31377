#include "server/request_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "server/api_error.h"
#include "server/ascii.h"

namespace hlwq::server {
namespace {

bool parse_length(std::string_view text, uint64_t& length) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// The media type is checked because a web page can make a browser send other types anywhere
// without asking.
bool is_json(const httplib::Request& request) {
  std::string type = lower(request.get_header_value("Content-Type"));
  if (const size_t end = type.find_first_of("; \t"); end != std::string::npos) type.resize(end);
  return type == "application/json";
}

}  // namespace

bool body_is_welcome(const httplib::Request& request, uint64_t most_bytes,
                     httplib::Response& response) {
  const size_t lengths = request.get_header_value_count("Content-Length");
  const size_t codings = request.get_header_value_count("Transfer-Encoding");
  if (lengths + codings > 1 ||
      (codings == 1 && lower(request.get_header_value("Transfer-Encoding")) != "chunked")) {
    answer_error(response, 400, "the body's length is given in more than one way");
    return false;
  }
  if (lengths + codings == 0) {
    answer_error(response, 411, "the body's length is missing");
    return false;
  }
  uint64_t length = 0;
  if (lengths == 1 && !parse_length(request.get_header_value("Content-Length"), length)) {
    answer_error(response, 400, "Content-Length is not a number");
    return false;
  }
  if (length > most_bytes) {
    answer_error(
        response, 413,
        fmt::format("the body has {} bytes, wanted at most {} (--max-body)", length, most_bytes));
    return false;
  }
  const std::string coding = lower(request.get_header_value("Content-Encoding"));
  if (!coding.empty() && coding != "identity") {
    answer_error(response, 415, "Content-Encoding: compressed bodies are not read");
    return false;
  }
  if (!is_json(request)) {
    answer_error(response, 415, "Content-Type: wanted application/json");
    return false;
  }
  return true;
}

bool has_no_body(const httplib::Request& request) {
  if (request.has_header("Transfer-Encoding")) return false;
  const size_t lengths = request.get_header_value_count("Content-Length");
  return lengths == 0 || (lengths == 1 && request.get_header_value("Content-Length") == "0");
}

}  // namespace hlwq::server
