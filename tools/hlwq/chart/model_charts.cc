// Quality, context and experts: what a model is like, whatever it runs on.

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/log.h"
#include "chart/axis.h"
#include "chart/charts.h"
#include "chart/describe.h"
#include "chart/heat_map.h"
#include "chart/plot.h"

namespace hlwq::chart {
namespace {

constexpr int kKvWidths[] = {16, 8, 4, 3, 2};
constexpr int64_t kUsualPositions = 131072;  // where a model states no limit

// "1 layer", "23 layers"
std::string counted(int64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

// "context", "context-2", ...
std::string numbered(const std::string& name, size_t number) {
  return number == 0 ? name : fmt::format("{}-{}", name, number + 1);
}

Result<Picture> draw_context_of(const KvShape& shape, const Origin& origin) {
  const auto tokens =
      static_cast<double>(shape.max_positions > 0 ? shape.max_positions : kUsualPositions);
  const ByteUnit unit = unit_for(kv_bytes(shape, 16, tokens));
  Plot plot{.heading = {.title = "Memory of keys and values against context",
                        .subtitle = fmt::format("{}, {} of {}; below 16 bits b·{}/8 + 2 bytes "
                                                "a head's vector; one sequence",
                                                counted(shape.layers, "attention layer"),
                                                counted(shape.heads, "KV head"), shape.head_dim,
                                                shape.head_dim),
                        .source = source_line({&origin, 1})},
            .x = {.label = "context (tokens)", .from_zero = true},
            .y = {.label = fmt::format("keys and values ({})", unit.name), .from_zero = true},
            .series = {}};
  for (const int bits : kKvWidths) {
    Series series{.label = fmt::format("{} bits: {:.3g} {} at {}", bits,
                                       kv_bytes(shape, bits, tokens) / unit.bytes, unit.name,
                                       number_text(tokens)),
                  .points = {},
                  .style = style_of(plot.series.size())};
    for (int quarter = 0; quarter <= 4; ++quarter) {
      const double at = tokens * quarter / 4;
      series.points.push_back(
          {.x = at, .y = kv_bytes(shape, bits, at) / unit.bytes, .low = {}, .high = {}});
    }
    plot.series.push_back(std::move(series));
  }
  return draw_plot(plot);
}

Result<Picture> draw_experts_of(const ExpertUse& use) {
  HeatMap map{.heading = {.title = "How often each expert is chosen",
                          .subtitle = fmt::format("{} of {} experts; 1 is what even "
                                                  "routing would give; counted from {}",
                                                  counted(use.layers, "MoE layer"), use.experts,
                                                  use.from.empty() ? "the run" : use.from),
                          .source = source_line({&use.origin, 1})},
              .x = "expert",
              .y = "MoE layer",
              .scale = "times the mean",
              .rows = use.layers,
              .columns = use.experts,
              .values = use.uses};
  for (int64_t layer = 0; layer < use.layers; ++layer) {
    const auto row = map.values.begin() + layer * use.experts;
    const double mean =
        std::accumulate(row, row + use.experts, 0.0) / static_cast<double>(use.experts);
    if (mean > 0) std::for_each(row, row + use.experts, [mean](double& value) { value /= mean; });
  }
  return draw_heat_map(map);
}

}  // namespace

Result<std::vector<NamedPicture>> draw_quality(const Results& results) {
  std::vector<Origin> origins;
  std::vector<std::string> references, texts;
  Plot plot{.heading = {.title = "Quality against size", .subtitle = {}, .source = {}},
            .x = {.label = "bits per quantized weight, norms included"},
            .y = {.label = "mean KL (nats)", .logarithmic = true},
            .series = {}};
  std::vector<const PplResult*> drawn;
  for (const PplResult& ppl : results.ppl) {
    if (!ppl.kl_mean || !ppl.bits_per_weight) continue;
    if (*ppl.kl_mean <= 0) {
      log(LogLevel::kWarning,
          fmt::format("quality: {}: a KL of {} has no place on a logarithmic axis: left out",
                      shown_text(ppl.origin.model), *ppl.kl_mean));
      continue;
    }
    drawn.push_back(&ppl);
    references.push_back(ppl.against);
    texts.push_back(fmt::format("{}, {} windows of {}", ppl.file, ppl.windows, ppl.window));
    origins.push_back(ppl.origin);
  }
  if (drawn.empty()) return std::vector<NamedPicture>();
  const bool several = std::any_of(references.begin(), references.end(),
                                   [&](const auto& name) { return name != references.front(); });
  for (const PplResult* const ppl : drawn) {
    std::string label = ppl->label.empty() ? ppl->origin.model : ppl->label;
    if (several) label += ", against " + ppl->against;
    auto series = std::find_if(plot.series.begin(), plot.series.end(),
                               [&](const Series& known) { return known.label == label; });
    if (series == plot.series.end()) {
      plot.series.push_back({.label = label, .points = {}, .style = {}});
      series = plot.series.end() - 1;
    }
    PlotPoint point{.x = *ppl->bits_per_weight, .y = *ppl->kl_mean, .low = {}, .high = {}};
    if (ppl->kl_mean_stderr) {
      point.low = point.y - *ppl->kl_mean_stderr;
      point.high = point.y + *ppl->kl_mean_stderr;
    }
    series->points.push_back(point);
  }
  for (size_t i = 0; i < plot.series.size(); ++i) {
    Series& series = plot.series[i];
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
    series.style = style_of(i % kMostStyles);
  }
  plot.heading.subtitle =
      fmt::format("KL from {} on {}; bars are one standard error over windows",
                  join_distinct(std::move(references)), join_distinct(std::move(texts)));
  plot.heading.source = source_line(origins);
  HLWQ_TRY_ASSIGN(Picture picture, draw_plot(plot));
  return std::vector<NamedPicture>{{"quality", std::move(picture)}};
}

Result<std::vector<NamedPicture>> draw_context(const Results& results) {
  std::vector<std::pair<KvShape, Origin>> shapes;
  const auto add = [&](const std::optional<KvShape>& shape, const Origin& origin) {
    if (!shape || shape->layers == 0) return;
    for (const auto& [known, where] : shapes)
      if (known == *shape) return;
    shapes.emplace_back(*shape, origin);
  };
  for (const BenchResult& bench : results.bench) add(bench.kv, bench.origin);
  for (const PlanResult& plan : results.plans) add(plan.kv, plan.origin);
  std::vector<NamedPicture> pictures;
  for (const auto& [shape, origin] : shapes) {
    HLWQ_TRY_ASSIGN(Picture picture, draw_context_of(shape, origin));
    pictures.push_back({numbered("context", pictures.size()), std::move(picture)});
  }
  return pictures;
}

Result<std::vector<NamedPicture>> draw_experts(const Results& results) {
  std::vector<NamedPicture> pictures;
  for (const ExpertUse& use : results.experts) {
    HLWQ_TRY_ASSIGN(Picture picture, draw_experts_of(use));
    pictures.push_back({numbered("experts", pictures.size()), std::move(picture)});
  }
  return pictures;
}

Result<std::vector<NamedPicture>> draw_charts(const Results& results) {
  std::vector<NamedPicture> all;
  for (const auto draw : {draw_memory, draw_speed, draw_quality, draw_context, draw_experts}) {
    HLWQ_TRY_ASSIGN(std::vector<NamedPicture> pictures, draw(results));
    std::move(pictures.begin(), pictures.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace hlwq::chart
