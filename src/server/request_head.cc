#include "server/request_head.h"

#include <algorithm>
#include <cctype>

namespace hlwq::server {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr size_t kMostMethod = 16, kMostTarget = 8000;

bool is_token_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

bool is_value_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
}

bool is_request_line(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return false;
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  const auto is_visible = [](char c) { return c > 0x20 && c < 0x7F; };
  return !method.empty() && method.size() <= kMostMethod &&
         std::all_of(method.begin(), method.end(), is_token_char) && target.starts_with('/') &&
         target.size() <= kMostTarget && std::all_of(target.begin(), target.end(), is_visible) &&
         (version == "HTTP/1.1" || version == "HTTP/1.0");
}

bool is_host(std::string_view name) {
  constexpr std::string_view kHost = "host";
  return std::equal(name.begin(), name.end(), kHost.begin(), kHost.end(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == b;
  });
}

}  // namespace

std::string_view fault_of_head(std::string_view head) {
  const auto next_line = [&head] {
    const size_t end = head.find(kLineEnd);
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + kLineEnd.size());
    return line;
  };
  const std::string_view request_line = next_line();
  if (!is_request_line(request_line)) return "the request line is not one of HTTP/1.1";
  int hosts = 0;
  for (std::string_view line = next_line(); !line.empty(); line = next_line()) {
    const size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    if (colon == std::string_view::npos || name.empty() ||
        !std::all_of(name.begin(), name.end(), is_token_char))
      return "a line of the headers is none";
    const std::string_view value = line.substr(colon + 1);
    if (!std::all_of(value.begin(), value.end(), is_value_char))
      return "a header holds a control character";
    hosts += is_host(name) ? 1 : 0;
  }
  if (hosts > 1 || (hosts == 0 && request_line.ends_with("HTTP/1.1")))
    return "there is not one Host header";
  return {};
}

}  // namespace hlwq::server
