#include "chart/results.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "chart/heat_map.h"
#include "chart/json_fields.h"
#include "io/file.h"
#include "runtime/experts/routing_trace.h"

namespace hlwq::chart {
namespace {

constexpr size_t kMostResults = 1000, kMostResultRows = 10000;
constexpr std::string_view kTraceMagic = "HLWQROUT";

// "/models/cascade-q5/" -> "cascade-q5"
std::string last_part(const std::string& path) {
  std::filesystem::path parts(path);
  if (!parts.has_filename()) parts = parts.parent_path();
  const std::string last = parts.filename().string();
  return last.empty() ? path : last;
}

const Json& or_empty(const Json* object) {
  static const Json empty = Json::object();
  return object == nullptr ? empty : *object;
}

// Of a whole result. `fields` are its own.
Result<Origin> read_origin(JsonFields& fields, const std::string& where) {
  JsonFields environment(or_empty(fields.object_if_any("environment")), where + ", environment");
  Origin origin{.model = last_part(fields.text("model")),
                .backend = environment.text_or_empty("backend"),
                .version = environment.text_or_empty("version"),
                .cpu = environment.text_or_empty("cpu")};
  HLWQ_TRY(fields.status());
  HLWQ_TRY(environment.status());
  return origin;
}

std::optional<KvShape> read_kv(JsonFields& fields) {
  const auto layers = fields.count_if_any("attention_layers"),
             heads = fields.count_if_any("kv_heads"), head_dim = fields.count_if_any("head_dim"),
             max_positions = fields.count_if_any("max_positions");
  if (!layers || !heads || !head_dim) return std::nullopt;
  return KvShape{*layers, *heads, *head_dim, max_positions.value_or(0)};
}

Result<PplResult> read_ppl(const Json& json, const std::string& where) {
  JsonFields fields(json, where);
  HLWQ_TRY_ASSIGN(Origin origin, read_origin(fields, where));
  const std::string against = fields.text_or_empty("kl_against");
  PplResult result{.origin = std::move(origin),
                   .file = last_part(fields.text("file")),
                   .against = against.empty() ? against : last_part(against),
                   .label = fields.text_or_empty("label"),
                   .compute = fields.text_or_empty("compute"),
                   .k_cache_nbits = fields.count("k_cache_nbits"),
                   .v_cache_nbits = fields.count("v_cache_nbits"),
                   .window = fields.count("window"),
                   .windows = fields.count("windows"),
                   .ppl = fields.number("ppl"),
                   .ppl_stderr = fields.number("stderr"),
                   .bits_per_weight = fields.number_if_any("bits_per_weight"),
                   .kl_mean = fields.number_if_any("kl_mean"),
                   .kl_mean_stderr = fields.number_if_any("kl_mean_stderr"),
                   .kl_p99 = fields.number_if_any("kl_p99"),
                   .top1 = fields.number_if_any("top1"),
                   .top1_stderr = fields.number_if_any("top1_stderr"),
                   .ppl_reference = fields.number_if_any("ppl_reference")};
  HLWQ_TRY(fields.status());
  return result;
}

Result<BenchRow> read_bench_row(const Json& json, const std::string& where) {
  JsonFields fields(json, where);
  BenchRow row{.name = fields.text("name"),
               .tok_s = fields.number("tok_s"),
               .tok_s_least = fields.number("tok_s_least"),
               .tok_s_most = fields.number("tok_s_most"),
               .hit_rate = fields.number_if_any("hit_rate"),
               .vram_peak_bytes = fields.count_if_any("vram_peak_bytes"),
               .vram_used_bytes = fields.count_if_any("vram_used_bytes"),
               .host_bytes = fields.count("host_bytes")};
  HLWQ_TRY(fields.status());
  return row;
}

Result<ExpertUse> read_expert_use(const Json& json, const std::string& where, Origin origin) {
  JsonFields fields(json, where);
  ExpertUse use{.origin = std::move(origin),
                .from = fields.text_or_empty("from"),
                .layers = fields.count("layers"),
                .experts = fields.count("experts"),
                .uses = {}};
  const Json* const layers = fields.array("uses", kMostRows);
  HLWQ_TRY(fields.status());
  if (use.layers != static_cast<int64_t>(layers->size()) || use.layers < 1 || use.experts < 1 ||
      use.experts > kMostColumns)
    return fail(
        ErrorCode::kBadHeader,
        fmt::format("{}: uses: {} layers of {} experts said, {} layers there; wanted at "
                    "least 1, at most {} of {}",
                    where, use.layers, use.experts, layers->size(), kMostRows, kMostColumns));
  for (size_t layer = 0; layer < layers->size(); ++layer) {
    const Json& row = (*layers)[layer];
    const std::string place = fmt::format("{}: uses[{}]", where, layer);
    if (!row.is_array() || row.size() != static_cast<size_t>(use.experts))
      return fail(ErrorCode::kBadHeader, fmt::format("{}: got {}, wanted an array of {}", place,
                                                     kind_of(row), use.experts));
    for (const Json& value : row) {
      const double count = value.is_number() ? value.get<double>() : -1;
      if (!(count >= 0 && count <= 1e18))
        return fail(ErrorCode::kBadHeader, fmt::format("{}: got {}, wanted numbers from 0 to 1e18",
                                                       place, kind_of(value)));
      use.uses.push_back(count);
    }
  }
  return use;
}

Status add_bench(const Json& json, const std::string& where, Results& results) {
  JsonFields fields(json, where);
  HLWQ_TRY_ASSIGN(const Origin origin, read_origin(fields, where));
  JsonFields options(or_empty(fields.object_if_any("options")), where + ", options");
  JsonFields environment(or_empty(fields.object_if_any("environment")), where + ", environment");
  BenchResult result{.origin = origin,
                     .parameters = fields.count_if_any("parameters"),
                     .file_bytes = fields.count_if_any("file_bytes"),
                     .bits_per_weight = fields.number_if_any("bits_per_weight"),
                     .kv = read_kv(fields),
                     .vram = options.text_or_empty("vram"),
                     .cache_size = options.text_or_empty("moe-expert-cache-size"),
                     .prefill_chunk = environment.count_if_any("prefill_chunk").value_or(0),
                     .repetitions = environment.count_if_any("repetitions").value_or(0),
                     .k_cache_nbits = environment.count_if_any("k_cache_nbits").value_or(0),
                     .v_cache_nbits = environment.count_if_any("v_cache_nbits").value_or(0),
                     .rows = {}};
  const Json* const rows = fields.array("rows", kMostResultRows);
  for (const JsonFields* const part : {&fields, &options, &environment}) HLWQ_TRY(part->status());
  for (size_t i = 0; i < rows->size(); ++i) {
    HLWQ_TRY_ASSIGN(BenchRow row,
                    read_bench_row((*rows)[i], fmt::format("{}, rows[{}]", where, i)));
    result.rows.push_back(std::move(row));
  }
  const Json* const use = fields.object_if_any("expert_use");
  HLWQ_TRY(fields.status());
  if (use != nullptr) {
    HLWQ_TRY_ASSIGN(ExpertUse experts, read_expert_use(*use, where + ", expert_use", origin));
    results.experts.push_back(std::move(experts));
  }
  results.bench.push_back(std::move(result));
  return {};
}

Result<PlanResult> read_plan(const Json& json, const std::string& where) {
  JsonFields fields(json, where);
  HLWQ_TRY_ASSIGN(Origin origin, read_origin(fields, where));
  PlanResult result{.origin = std::move(origin),
                    .kv = read_kv(fields),
                    .context = fields.count("context"),
                    .batch = fields.count("batch"),
                    .rows = {}};
  const Json* const rows = fields.array("rows", kMostResultRows);
  HLWQ_TRY(fields.status());
  for (size_t i = 0; i < rows->size(); ++i) {
    JsonFields row((*rows)[i], fmt::format("{}, rows[{}]", where, i));
    result.rows.push_back({.resident_bytes = row.count("resident_bytes"),
                           .predicted_tok_s = row.number_if_any("predicted_tok_s")});
    HLWQ_TRY(row.status());
  }
  return result;
}

Status add_object(const Json& json, const std::string& where, Results& results) {
  if (json.contains("uses")) {
    HLWQ_TRY_ASSIGN(
        ExpertUse use,
        read_expert_use(json, where,
                        {.model = last_part(where), .backend = {}, .version = {}, .cpu = {}}));
    use.from = "a file of experts' use";
    results.experts.push_back(std::move(use));
    return {};
  }
  JsonFields fields(json, where);
  const std::string command = fields.text_or_empty("command");
  HLWQ_TRY(fields.status());
  if (command == "ppl") {
    HLWQ_TRY_ASSIGN(PplResult result, read_ppl(json, where));
    results.ppl.push_back(std::move(result));
    return {};
  }
  if (command == "bench") return add_bench(json, where, results);
  if (command == "plan") {
    HLWQ_TRY_ASSIGN(PlanResult result, read_plan(json, where));
    results.plans.push_back(std::move(result));
    return {};
  }
  return fail(ErrorCode::kBadHeader,
              fmt::format("{}: {}; wanted what bench, ppl or plan write with --json", where,
                          command.empty() ? std::string("an object without \"command\"")
                                          : fmt::format("of command {}", kind_of(Json(command)))));
}

Result<bool> is_trace(const std::string& path) {
  HLWQ_TRY_ASSIGN(const InputFile file, InputFile::open(path));
  std::string magic(kTraceMagic.size(), '\0');
  if (file.bytes() < magic.size()) return false;
  HLWQ_TRY(file.read(0, std::as_writable_bytes(std::span(magic))));
  return magic == kTraceMagic;
}

size_t total(const Results& results) {
  return results.ppl.size() + results.bench.size() + results.plans.size() + results.experts.size();
}

}  // namespace

Result<ExpertUse> count_trace(const std::string& path) {
  HLWQ_TRY_ASSIGN(const RoutingTrace trace, read_routing_trace(path));
  const RoutingShape& shape = trace.shape;
  if (shape.layers > kMostRows || shape.experts > kMostColumns)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: {} layers of {} experts, a chart takes {} of {}", path,
                            shape.layers, shape.experts, kMostRows, kMostColumns));
  ExpertUse use{.origin = {.model = last_part(path), .backend = {}, .version = {}, .cpu = {}},
                .from = fmt::format("a routing trace of {} steps", trace.steps.size()),
                .layers = shape.layers,
                .experts = shape.experts,
                .uses = std::vector<double>(static_cast<size_t>(shape.layers * shape.experts))};
  for (const RoutingStep& step : trace.steps) {
    const std::span<const uint16_t> ids = trace.of(step);
    const auto of_layer = static_cast<size_t>(step.tokens * shape.used);
    for (size_t i = 0; i < ids.size(); ++i)
      use.uses[i / of_layer * static_cast<size_t>(shape.experts) + ids[i]] += 1;
  }
  return use;
}

Status add_results(const Json& json, const std::string& where, Results& results) {
  if (!json.is_array()) {
    if (total(results) >= kMostResults)
      return fail(ErrorCode::kBadHeader,
                  fmt::format("{}: more than {} results", where, kMostResults));
    return add_object(json, where, results);
  }
  for (size_t i = 0; i < json.size(); ++i)
    HLWQ_TRY(add_results(json[i], fmt::format("{}[{}]", where, i), results));
  return {};
}

Result<Results> read_results(std::span<const std::string> paths) {
  Results results;
  for (const std::string& path : paths) {
    HLWQ_TRY_ASSIGN(const bool trace, is_trace(path));
    if (trace) {
      HLWQ_TRY_ASSIGN(ExpertUse use, count_trace(path));
      results.experts.push_back(std::move(use));
      continue;
    }
    HLWQ_TRY_ASSIGN(const Json json, read_json_file(path));
    HLWQ_TRY(add_results(json, path, results));
  }
  return results;
}

}  // namespace hlwq::chart
