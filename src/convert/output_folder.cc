#include "convert/output_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <vector>

#include "convert/config_text.h"
#include "io/file.h"

namespace hlwq {
namespace {

namespace fs = std::filesystem;

bool is_side_file(const std::string& name) {
  constexpr std::array<std::string_view, 6> kEndings = {".json",  ".jinja",    ".txt",
                                                        ".model", ".tiktoken", ".py"};
  if (name.ends_with(".index.json") || name == "config.json" || name == "polar_config.json")
    return false;
  return name.starts_with("LICENSE") || name.starts_with("NOTICE") ||
         std::any_of(kEndings.begin(), kEndings.end(),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

bool is_weight_file(const std::string& name) {
  return name.ends_with(".safetensors") || name.ends_with(".index.json") ||
         name == "polar_config.json" || name == "config.json";
}

bool is_leftover(const std::string& name) {
  return name.starts_with(".") && name.find(".tmp-") != std::string::npos;
}

// Names of the regular files directly in a folder, sorted. Errors: kIo.
Result<std::vector<std::string>> file_names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    if (std::error_code type; it->is_regular_file(type)) names.push_back(it->path().filename());
  if (ec) return fail(ErrorCode::kIo, fmt::format("{}: cannot list: {}", folder, ec.message()));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Status require_different(const std::string& source, const std::string& out) {
  std::error_code ec;
  if (fs::exists(out, ec) && fs::equivalent(source, out, ec))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is the source itself; give another output folder", out));
  return {};
}

Status prepare_output_folder(const std::string& folder, bool force, bool resume) {
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (ec) return fail(ErrorCode::kIo, fmt::format("{}: cannot create: {}", folder, ec.message()));
  HLWQ_TRY_ASSIGN(const std::vector<std::string> names, file_names(folder));
  for (const std::string& name : names) {
    const bool weights = is_weight_file(name);
    if (weights && !force && !resume)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: already holds a checkpoint ({}); --force replaces it, --resume "
                              "finishes an interrupted run",
                              folder, name));
    if ((weights && force && !resume) || is_leftover(name)) {
      fs::remove(folder + "/" + name, ec);
      if (ec)
        return fail(ErrorCode::kIo,
                    fmt::format("{}/{}: cannot remove: {}", folder, name, ec.message()));
    }
  }
  return {};
}

Status copy_model_files(const std::string& source, const std::string& out,
                        std::string_view config_key, std::string_view raw_value) {
  constexpr uint64_t kMostConfigBytes = 64 << 20;
  if (!fs::is_directory(source)) return {};
  HLWQ_TRY_ASSIGN(const std::vector<std::string> names, file_names(source));
  for (const std::string& name : names)
    if (is_side_file(name)) HLWQ_TRY(copy_file(source + "/" + name, out + "/" + name));
  const std::string config = source + "/config.json";
  if (!file_exists(config)) return {};
  HLWQ_TRY_ASSIGN(std::string text, read_text_file(config, kMostConfigBytes));
  HLWQ_TRY_ASSIGN(text, raw_value.empty() ? without_top_level_key(text, config_key)
                                          : with_top_level_key(text, config_key, raw_value));
  return write_file(out + "/config.json", text);
}

std::string base_model_name(const std::string& source) {
  const fs::path path = fs::path(source).lexically_normal();
  return path.has_filename() ? path.filename() : path.parent_path().filename();
}

}  // namespace hlwq
