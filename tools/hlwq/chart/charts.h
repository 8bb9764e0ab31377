#pragma once
// Every chart that results have the data for.

#include <string>
#include <vector>

#include "base/result.h"
#include "chart/picture.h"
#include "chart/results.h"

namespace hlwq::chart {

struct NamedPicture {
  std::string name;  // of the file, without an ending: "memory", "speed", "quality", ...
  Picture picture;
};

// memory      BF16 size, file and measured peak (bench)
// speed       decode speed against GPU memory (bench on a GPU, plan)
// quality     KL against bits per weight (ppl with --kl-against)
// context     memory of keys and values against context, for each width (bench, plan)
// experts     how often each expert is chosen (traces, files of experts' use, bench --trace)
// The last two once for each model shape: "context-2" and so on. Errors: kBadValue, as the drawing
// functions; each names the chart.
[[nodiscard]] Result<std::vector<NamedPicture>> draw_charts(const Results& results);

// Its parts; nothing where the data is missing.
[[nodiscard]] Result<std::vector<NamedPicture>> draw_memory(const Results& results);
[[nodiscard]] Result<std::vector<NamedPicture>> draw_speed(const Results& results);
[[nodiscard]] Result<std::vector<NamedPicture>> draw_quality(const Results& results);
[[nodiscard]] Result<std::vector<NamedPicture>> draw_context(const Results& results);
[[nodiscard]] Result<std::vector<NamedPicture>> draw_experts(const Results& results);

}  // namespace hlwq::chart
