#pragma once

#include <algorithm>
#include <cctype>
#include <string>

namespace hlwq::server {

// Letters A to Z small; names in HTTP do not depend on their case.
[[nodiscard]] inline std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace hlwq::server
