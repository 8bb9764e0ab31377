// Memory and speed, from what bench measured and plan predicts.

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "chart/bars.h"
#include "chart/charts.h"
#include "chart/describe.h"
#include "chart/plot.h"

namespace hlwq::chart {
namespace {

constexpr Color kBefore = {0x99, 0x99, 0x99}, kFile = {0x56, 0xB4, 0xE9},
                kPeak = {0x00, 0x72, 0xB2};

struct Peak {
  std::string label;
  double bytes = 0;
};

// The most that a row had on the GPU, or on the host where there is none.
Peak peak_of(const BenchResult& bench) {
  int64_t vram = 0, host = 0;
  for (const BenchRow& row : bench.rows) {
    vram = std::max(vram, row.vram_peak_bytes.value_or(0));
    host = std::max(host, row.host_bytes);
  }
  if (vram == 0) return {"peak of the process, measured", static_cast<double>(host)};
  std::string label = "GPU peak, measured";
  if (!bench.vram.empty()) {
    label += ", --vram " + bench.vram;
  } else if (!bench.cache_size.empty() && bench.cache_size != "all") {
    label += fmt::format(", {} slots a layer", bench.cache_size);
  }
  return {label, static_cast<double>(vram)};
}

struct ModelMemory {
  double bf16 = 0, file = 0;
  bool coded = false;
  std::vector<Peak> peaks;

  void add(const BenchResult& bench) {
    bf16 = std::max(bf16, 2.0 * static_cast<double>(bench.parameters.value_or(0)));
    file = std::max(file, static_cast<double>(bench.file_bytes.value_or(0)));
    coded = coded || bench.bits_per_weight.has_value();
    const Peak peak = peak_of(bench);
    for (Peak& known : peaks) {
      if (known.label != peak.label) continue;
      known.bytes = std::max(known.bytes, peak.bytes);
      return;
    }
    peaks.push_back(peak);
  }
  [[nodiscard]] double most() const {
    double bytes = std::max(bf16, file);
    for (const Peak& peak : peaks) bytes = std::max(bytes, peak.bytes);
    return bytes;
  }
};

bool decodes_alone(const BenchRow& row) {
  return row.name.starts_with("decode") && row.name.find("batch") == std::string::npos;
}

PlotPoint speed_point(const BenchRow& row, double bytes) {
  return {.x = bytes / 1e9, .y = row.tok_s, .low = row.tok_s_least, .high = row.tok_s_most};
}

}  // namespace

Result<std::vector<NamedPicture>> draw_memory(const Results& results) {
  std::vector<Origin> origins;
  std::vector<std::string> names;
  std::map<std::string, ModelMemory> models;
  double most = 0;
  for (const BenchResult& bench : results.bench) {
    const std::string& name = bench.origin.model;
    if (!models.contains(name)) names.push_back(name);
    ModelMemory& memory = models[name];
    memory.add(bench);
    most = std::max(most, memory.most());
    origins.push_back(bench.origin);
  }
  if (origins.empty()) return std::vector<NamedPicture>();
  const ByteUnit unit = unit_for(most);
  BarChart chart{.heading = {.title = "Memory: in BF16, on disk, at work",
                             .subtitle = "BF16 is 2 bytes a parameter; peaks were measured while "
                                         "the benchmark ran, caches and states included",
                             .source = source_line(origins)},
                 .axis = fmt::format("memory ({})", unit.name),
                 .groups = {}};
  for (const std::string& name : names) {
    const ModelMemory& memory = models[name];
    BarGroup group{.label = name, .bars = {}};
    const auto add = [&](const std::string& label, double bytes, const Color& color) {
      if (bytes <= 0) return;
      const double value = bytes / unit.bytes;
      group.bars.push_back({.label = label,
                            .value = value,
                            .value_text = fmt::format("{:.3g} {}", value, unit.name),
                            .color = color});
    };
    add("BF16", memory.bf16, kBefore);
    add(memory.coded ? "HLWQ file" : "checkpoint file", memory.file, kFile);
    for (const Peak& peak : memory.peaks) add(peak.label, peak.bytes, kPeak);
    if (!group.bars.empty()) chart.groups.push_back(std::move(group));
  }
  if (chart.groups.empty()) return std::vector<NamedPicture>();
  HLWQ_TRY_ASSIGN(Picture picture, draw_bars(chart));
  return std::vector<NamedPicture>{{"memory", std::move(picture)}};
}

Result<std::vector<NamedPicture>> draw_speed(const Results& results) {
  std::vector<Origin> origins;
  std::vector<std::pair<std::string, Series>> measured;  // by model and row
  for (const BenchResult& bench : results.bench)
    for (const BenchRow& row : bench.rows) {
      const auto bytes = row.vram_used_bytes ? row.vram_used_bytes : row.vram_peak_bytes;
      if (!decodes_alone(row) || !bytes) continue;
      const std::string label = fmt::format("{}: {}, measured", bench.origin.model, row.name);
      auto series = std::find_if(measured.begin(), measured.end(),
                                 [&](const auto& entry) { return entry.first == label; });
      if (series == measured.end()) {
        measured.push_back({label, {.label = label, .points = {}, .style = {}}});
        series = measured.end() - 1;
      }
      series->second.points.push_back(speed_point(row, static_cast<double>(*bytes)));
      origins.push_back(bench.origin);
    }
  Plot plot{.heading = {.title = "Decode speed against GPU memory",
                        .subtitle = "One sequence; bars span the repetitions; predicted points "
                                    "are hlwq plan's",
                        .source = {}},
            .x = {.label = "GPU memory in use (GB)", .from_zero = true},
            .y = {.label = "tokens a second", .from_zero = true},
            .series = {}};
  for (auto& [label, series] : measured) plot.series.push_back(std::move(series));
  const size_t first_predicted = plot.series.size();
  for (const PlanResult& plan : results.plans) {
    if (plan.batch != 1) continue;
    Series series{
        .label = fmt::format("{}: decode at {}, predicted", plan.origin.model, plan.context),
        .points = {},
        .style = {}};
    for (const PlanRow& row : plan.rows)
      if (row.predicted_tok_s)
        series.points.push_back({.x = static_cast<double>(row.resident_bytes) / 1e9,
                                 .y = *row.predicted_tok_s,
                                 .low = {},
                                 .high = {}});
    if (series.points.empty()) continue;
    plot.series.push_back(std::move(series));
    origins.push_back(plan.origin);
  }
  if (plot.series.empty()) return std::vector<NamedPicture>();
  for (size_t i = 0; i < plot.series.size(); ++i) {
    Series& series = plot.series[i];
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
    series.style = style_of(i % kMostStyles);
    series.style.hollow = i >= first_predicted;
    series.style.dash = i >= first_predicted ? Dash::kDashed : Dash::kSolid;
  }
  plot.heading.source = source_line(origins);
  HLWQ_TRY_ASSIGN(Picture picture, draw_plot(plot));
  return std::vector<NamedPicture>{{"speed", std::move(picture)}};
}

}  // namespace hlwq::chart
