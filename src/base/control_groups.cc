#include "base/control_groups.h"

#include <algorithm>
#include <fstream>

namespace hlwq {
namespace {

// Whether a comma-separated list holds the name (and not "cpuset" for "cpu").
bool names(const std::string& list, std::string_view name) {
  return ("," + list + ",").find("," + std::string(name) + ",") != std::string::npos;
}

}  // namespace

std::vector<std::string> control_groups(std::string_view controller, const std::string& root) {
  std::vector<std::string> folders;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // "0::/path" is version 2's group; "N:...memory...:/path" version 1's.
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && !names(controllers, controller)) continue;
    const std::string mount =
        root + "/sys/fs/cgroup" + (unified ? "" : "/" + std::string(controller));
    for (std::string path = line.substr(second + 1);;) {
      folders.push_back(mount + (path == "/" ? "" : path));
      if (path.size() <= 1) break;
      path.resize(std::max<size_t>(path.rfind('/'), 1));
    }
  }
  return folders;
}

}  // namespace hlwq
