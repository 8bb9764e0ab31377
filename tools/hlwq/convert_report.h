#pragma once
// What the conversion commands share.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "convert/quantize.h"
#include "progress.h"

namespace hlwq::cli {

// Draws `progress` and stops the job after Ctrl-C.
[[nodiscard]] ConvertProgress show_progress(Progress& progress);

[[nodiscard]] nlohmann::json to_json(const QuantizeReport& report);
[[nodiscard]] std::string to_text(const QuantizeReport& report);

}  // namespace hlwq::cli
