#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "chart/charts.h"

namespace hlwq::chart {

// Makes `folder` and what leads to it, where they are missing. Errors: kIo.
[[nodiscard]] Status make_folder(const std::string& folder);

// Writes NAME.svg and NAME.png of every picture into `folder`, which is made when it is missing.
// Returns the names written, in order. Errors: kIo, kOutOfMemory.
[[nodiscard]] Result<std::vector<std::string>> write_charts(
    const std::vector<NamedPicture>& pictures, const std::string& folder);

}  // namespace hlwq::chart
