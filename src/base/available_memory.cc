#include "base/available_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

#include "base/control_groups.h"

namespace hlwq {
namespace {

// The number a file holds; nothing when there is no file or it says "max".
std::optional<int64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (!(file >> value)) return std::nullopt;
  return value;
}

// The number behind `name` in a file of lines "name number".
std::optional<int64_t> read_entry(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string entry, rest;
  for (int64_t value = 0; file >> entry >> value && std::getline(file, rest);)
    if (entry == name) return value;
  return std::nullopt;
}

// What a group leaves: its limit less what it uses, file caches that nobody needs now counted as
// free. Version 2's names, then version 1's.
std::optional<int64_t> left_of_group(const std::string& folder) {
  struct Names {
    const char *limit, *usage, *cache;
  };
  for (const auto& [limit, usage, cache] :
       {Names{"/memory.max", "/memory.current", "inactive_file"},
        Names{"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"}}) {
    const auto most = read_number(folder + limit), now = read_number(folder + usage);
    if (!most || !now) continue;
    const int64_t idle = read_entry(folder + "/memory.stat", cache).value_or(0);
    return std::max<int64_t>(0, *most - *now + idle);
  }
  return std::nullopt;
}

// The least that any group above this process leaves.
std::optional<int64_t> left_of_groups(const std::string& root) {
  std::optional<int64_t> least;
  for (const std::string& folder : control_groups("memory", root))
    if (const auto left = left_of_group(folder)) least = std::min(least.value_or(*left), *left);
  return least;
}

}  // namespace

int64_t available_memory_bytes(const std::string& root) {
  const auto kib = read_entry(root + "/proc/meminfo", "MemAvailable:");
  const int64_t available = kib.value_or(0) * 1024;
  return std::min(available, left_of_groups(root).value_or(std::numeric_limits<int64_t>::max()));
}

}  // namespace hlwq
