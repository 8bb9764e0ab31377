#pragma once
// The files of web/, put into the program by the build.

#include <span>
#include <string_view>

namespace hlwq::server {

struct WebAsset {
  std::string_view name;  // "index.html"
  std::string_view bytes;
};

[[nodiscard]] std::span<const WebAsset> web_assets();

}  // namespace hlwq::server
