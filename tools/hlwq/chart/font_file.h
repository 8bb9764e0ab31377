#pragma once
// DejaVu Sans, put into the program by the build.

#include <span>
#include <string_view>

namespace hlwq::chart {

struct FontFile {
  std::string_view name;  // "DejaVuSans.ttf"
  std::string_view bytes;
};

[[nodiscard]] std::span<const FontFile> font_files();

}  // namespace hlwq::chart
