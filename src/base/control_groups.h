#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hlwq {

// Folders of the control groups that this process is in and of those above them, up to the mount,
// that have `controller` ("memory", "cpu"); version 2's and version 1's. A container may see its
// own group as the mount and the host's path in the list: a folder that is not there limits
// nothing. `root` is where /proc and /sys are (tests).
[[nodiscard]] std::vector<std::string> control_groups(std::string_view controller,
                                                      const std::string& root);

}  // namespace hlwq
