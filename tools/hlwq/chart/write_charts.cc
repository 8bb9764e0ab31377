#include "chart/write_charts.h"

#include <fmt/format.h>

#include <filesystem>

#include "chart/png.h"
#include "chart/svg.h"
#include "io/file.h"

namespace hlwq::chart {

Status make_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(ErrorCode::kIo, fmt::format("{}: {}", folder, error.message()));
  return {};
}

Result<std::vector<std::string>> write_charts(const std::vector<NamedPicture>& pictures,
                                              const std::string& folder) {
  HLWQ_TRY(make_folder(folder));
  std::vector<std::string> names;
  const auto write = [&](const std::string& name, const std::string& content) {
    names.push_back(name);
    return write_file((std::filesystem::path(folder) / name).string(), content);
  };
  for (const auto& [name, picture] : pictures) {
    HLWQ_TRY(write(name + ".svg", to_svg(picture)));
    HLWQ_TRY_ASSIGN(const std::string png, to_png(picture));
    HLWQ_TRY(write(name + ".png", png));
  }
  return names;
}

}  // namespace hlwq::chart
