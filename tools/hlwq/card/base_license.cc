#include "card/base_license.h"

#include <string_view>

#include "io/file.h"

namespace hlwq::card {
namespace {

constexpr uint64_t kMostCardBytes = uint64_t{16} << 20;
constexpr size_t kMostValue = 200;  // bytes

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string_view unquote(std::string_view text) {
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
      text.back() == text.front())
    return text.substr(1, text.size() - 2);
  return text;
}

std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

Result<std::optional<License>> read_license(const std::string& folder) {
  const std::string path = folder + "/README.md";
  if (!file_exists(path)) return std::nullopt;
  HLWQ_TRY_ASSIGN(const std::string card, read_text_file(path, kMostCardBytes));
  std::string_view rest = card;
  if (trim(take_line(rest)) != "---") return std::nullopt;
  License license;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (trim(line) == "---") break;
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view value = unquote(trim(line.substr(colon + 1)));
    if (value.empty() || value.size() > kMostValue) continue;
    const std::string_view key = line.substr(0, colon);
    if (key == "license") license.id = value;
    if (key == "license_name") license.name = value;
    if (key == "license_link") license.link = value;
  }
  if (license.id.empty()) return std::nullopt;
  return license;
}

}  // namespace hlwq::card
