#pragma once
// A model card: what a checkpoint is and what was measured of it. It holds no figure that is not in
// the checkpoint or in a result.

#include <optional>
#include <string>
#include <vector>

#include "card/base_license.h"
#include "chart/results.h"
#include "convert/inspect.h"

namespace hlwq::card {

struct CardData {
  std::string name;  // of the checkpoint's folder: results of this name are its own
  InspectReport checkpoint;
  std::optional<License> license;  // of the original
  chart::Results results;
  std::vector<std::string> charts;  // "quality": charts/quality.png and .svg are there
};

// Markdown with the front matter that model hubs read. The same data gives the same text.
[[nodiscard]] std::string make_card(const CardData& data);

}  // namespace hlwq::card
