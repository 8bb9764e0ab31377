#include "io/shards.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/check.h"
#include "base/log.h"
#include "base/utf8.h"
#include "io/file.h"
#include "io/json.h"
#include "io/printable.h"

namespace hlwq {
namespace {

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kExtension = ".safetensors";

struct ShardIndex {
  std::map<std::string, std::string> shard_of;  // tensor name -> file name
  std::optional<uint64_t> total_bytes;          // "total_size", where it is a whole number
};

tl::unexpected<Error> folder_failure(const std::string& path, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  return fail(missing ? ErrorCode::kMissing : ErrorCode::kIo,
              fmt::format("{}: cannot open: {}", printable(path, 4096),
                          std::generic_category().message(error)));
}

std::string join(const std::string& folder, std::string_view name) {
  return fmt::format("{}{}{}", folder, folder.ends_with('/') ? "" : "/", name);
}

// Something has this name, even if it is a link to nothing: opening it will say what is wrong.
bool name_exists(const std::string& path) {
  struct stat info = {};
  return ::lstat(path.c_str(), &info) == 0;
}

// The *.safetensors in `folder`, sorted. Hidden names are unfinished files of a writer.
Result<std::vector<std::string>> list_shards(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> handle(::opendir(folder.c_str()), ::closedir);
  if (handle == nullptr) return folder_failure(folder, errno);
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* found = ::readdir(handle.get());
    if (found == nullptr) break;
    const std::string_view name = found->d_name;
    if (name.ends_with(kExtension) && !name.starts_with('.')) names.emplace_back(name);
  }
  if (errno != 0) return folder_failure(folder, errno);
  if (names.empty())
    return fail(ErrorCode::kMissing,
                fmt::format("{}: no {} and no *{} in it", folder, kIndexName, kExtension));
  std::sort(names.begin(), names.end());
  return names;
}

Status check_shard_name(std::string_view name, std::string_view where, std::string_view tensor) {
  const bool is_plain = !name.empty() && !name.starts_with('.') &&
                        name.find('/') == std::string_view::npos &&
                        name.find('\\') == std::string_view::npos &&
                        name.find("..") == std::string_view::npos && printable(name, 255) == name;
  if (!is_plain)
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: tensor \"{}\": shard \"{}\" is not a plain file name", where,
                            printable(tensor), printable(name)));
  if (!name.ends_with(kExtension))
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: tensor \"{}\": shard \"{}\" is not a {} "
                            "file",
                            where, printable(tensor), printable(name), kExtension));
  return {};
}

Result<ShardIndex> read_index(const std::string& path) {
  HLWQ_TRY_ASSIGN(const Json json, read_json_file(path));
  if (!json.is_object() || !json.contains("weight_map") || !json.at("weight_map").is_object())
    return fail(ErrorCode::kBadHeader, fmt::format("{}: no weight_map object", path));
  ShardIndex index;
  for (const auto& [tensor, shard] : json.at("weight_map").items()) {
    if (!shard.is_string())
      return fail(ErrorCode::kBadHeader, fmt::format("{}: tensor \"{}\": shard is {}, not a string",
                                                     path, printable(tensor), shard.type_name()));
    const auto& name = shard.get_ref<const std::string&>();
    HLWQ_TRY(check_shard_name(name, path, tensor));
    index.shard_of.emplace(tensor, name);
  }
  if (index.shard_of.empty())
    return fail(ErrorCode::kBadHeader, fmt::format("{}: weight_map is empty", path));
  if (!json.contains("metadata")) return index;
  const Json& metadata = json.at("metadata");
  if (!metadata.is_object())
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: metadata is {}, not an object", path, metadata.type_name()));
  if (!metadata.contains("total_size")) return index;
  const Json& total = metadata.at("total_size");
  if (!total.is_number() || !(total.get<double>() >= 0))
    return fail(ErrorCode::kBadHeader,
                fmt::format("{}: metadata.total_size is {}, not a byte count", path,
                            printable(total.dump())));
  if (total.is_number_unsigned()) index.total_bytes = total.get<uint64_t>();
  return index;
}

uint64_t bytes_of_tensor(const TensorEntry& tensor) {
  const Result<uint64_t> bytes = checked_bytes(tensor.name, tensor.dtype, tensor.shape);
  HLWQ_CHECK(bytes.has_value());
  return *bytes;
}

}  // namespace

Result<ShardSet> ShardSet::open(const std::string& path) {
  struct stat info = {};
  if (path.find('\0') != std::string::npos) return folder_failure(path, EINVAL);
  if (::stat(path.c_str(), &info) != 0) return folder_failure(path, errno);

  ShardSet set;
  std::optional<ShardIndex> index;
  std::vector<std::string> names;
  if (!S_ISDIR(info.st_mode)) {
    const size_t slash = path.rfind('/');
    set.folder_ = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
    names.push_back(path.substr(slash + 1));  // npos + 1 is 0
  } else {
    set.folder_ = path;
    if (const std::string index_path = join(path, kIndexName); name_exists(index_path)) {
      HLWQ_TRY_ASSIGN(index, read_index(index_path));
      std::set<std::string> shards;
      for (const auto& [tensor, shard] : index->shard_of) shards.insert(shard);
      names.assign(shards.begin(), shards.end());
    } else {
      HLWQ_TRY_ASSIGN(names, list_shards(path));
    }
  }

  set.files_.reserve(names.size());
  for (const std::string& name : names) {
    HLWQ_TRY_ASSIGN(SafetensorsFile file, SafetensorsFile::open(join(set.folder_, name)));
    set.files_.push_back(std::move(file));
  }
  // Only now, when the files have their final places.
  uint64_t total_bytes = 0;
  for (const SafetensorsFile& file : set.files_) {
    for (const TensorEntry& entry : file.tensors()) {
      const auto [place, is_new] = set.by_name_.emplace(entry.name, set.tensors_.size());
      if (!is_new)
        return fail(ErrorCode::kBadLayout,
                    fmt::format("tensor \"{}\" is in both {} and {}", printable(entry.name),
                                set.tensors_[place->second].file->path(), file.path()));
      set.tensors_.push_back({.entry = &entry, .file = &file});
      total_bytes += entry.bytes();
    }
  }
  if (!index) return set;

  const std::string index_path = join(path, kIndexName);
  for (const auto& [tensor, shard] : index->shard_of) {
    const auto at = std::lower_bound(names.begin(), names.end(), shard) - names.begin();
    if (set.files_[static_cast<size_t>(at)].find(tensor) == nullptr)
      return fail(ErrorCode::kMissing,
                  fmt::format("{}: tensor \"{}\" is not in {}, where the index "
                              "puts it",
                              index_path, printable(tensor), shard));
  }
  // Published indexes get this number wrong (shared or requantized tensors), and nothing needs it.
  if (index->total_bytes && *index->total_bytes != total_bytes)
    log(LogLevel::kWarning, fmt::format("{}: metadata.total_size is {}, the shards hold {} bytes",
                                        index_path, *index->total_bytes, total_bytes));
  return set;
}

std::optional<ShardTensor> ShardSet::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  if (found == by_name_.end()) return std::nullopt;
  return tensors_[found->second];
}

Status ShardSet::read(const ShardTensor& tensor, uint64_t offset, std::span<std::byte> out) const {
  HLWQ_CHECK(tensor.file != nullptr && tensor.entry != nullptr);
  return tensor.file->read(*tensor.entry, offset, out);
}

std::vector<std::vector<TensorEntry>> plan_shards(std::vector<TensorEntry> tensors,
                                                  uint64_t shard_bytes) {
  std::vector<std::vector<TensorEntry>> shards;
  uint64_t used = 0;
  for (TensorEntry& tensor : tensors) {
    const uint64_t bytes = bytes_of_tensor(tensor);
    // Both terms are below 2^63. An empty tensor never needs a shard of its own.
    if (shards.empty() || (bytes > 0 && used > 0 && used + bytes > shard_bytes)) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(std::move(tensor));
    used += bytes;
  }
  return shards;
}

std::string shard_file_name(size_t index, size_t count) {
  HLWQ_CHECK(index < count);
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

Status write_shard_index(const std::string& folder,
                         const std::vector<std::vector<TensorEntry>>& shards) {
  if (shards.size() <= 1) return {};
  Json weight_map = Json::object();
  uint64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const TensorEntry& tensor : shards[i]) {
      const bool is_text = is_utf8(tensor.name);
      if (!is_text || !weight_map.emplace(tensor.name, shard_file_name(i, shards.size())).second)
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("tensor name \"{}\" is {}", printable(tensor.name),
                                is_text ? "given twice" : "not UTF-8"));
      total_bytes += bytes_of_tensor(tensor);
    }
  }
  const Json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  return write_file(join(folder, kIndexName), index.dump(2) + "\n");
}

}  // namespace hlwq
