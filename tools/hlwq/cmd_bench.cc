// hlwq bench: speed of prompts and decode steps, and how near to the memory's roof they are.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/check_options.h"
#include "base/units.h"
#include "chart/write_charts.h"
#include "checkpoint_facts.h"
#include "commands.h"
#include "environment.h"
#include "expert_report.h"
#include "hlwq/engine.h"
#include "interrupt.h"
#include "io/file.h"
#include "open_engine.h"
#include "option_flags.h"
#include "or_null.h"
#include "progress.h"

namespace hlwq::cli {
namespace {

struct BenchFlags {
  std::string model, synthetic;
  BenchRequest request;
  std::string chart;  // folder; empty: no charts
  bool json = false;
  EngineOptions engine;
};

nlohmann::json to_json(const BenchRow& row) {
  return {{"name", row.name},
          {"tokens", row.tokens},
          {"tok_s", row.tok_s},
          {"tok_s_least", row.tok_s_least},
          {"tok_s_most", row.tok_s_most},
          {"gb_s", or_null(row.gb_s)},
          {"roof_share", or_null(row.roof_share)},
          {"vram_peak_bytes", or_null(row.vram_peak_bytes)},
          {"vram_used_bytes", or_null(row.vram_used_bytes)},
          {"host_bytes", row.host_bytes},
          {"hit_rate", or_null(row.hit_rate)},
          {"experts", experts_to_json(row.experts)}};
}

// How often each expert was chosen, when a trace was written.
Result<nlohmann::json> expert_use(const BenchFlags& flags) {
  if (flags.request.trace.empty()) return nlohmann::json();
  HLWQ_TRY_ASSIGN(const chart::ExpertUse use, chart::count_trace(flags.request.trace));
  nlohmann::json uses = nlohmann::json::array();
  for (auto row = use.uses.begin(); row != use.uses.end(); row += use.experts)
    uses.push_back(std::vector<double>(row, row + use.experts));
  return nlohmann::json{
      {"from", use.from}, {"layers", use.layers}, {"experts", use.experts}, {"uses", uses}};
}

// Errors: of reading the trace again.
Result<nlohmann::json> report(const BenchFlags& flags, const Engine& engine,
                              const CheckpointFacts& facts, const BenchResult& result) {
  HLWQ_TRY_ASSIGN(const nlohmann::json use, expert_use(flags));
  const ModelInfo& info = engine.info();
  nlohmann::json rows = nlohmann::json::array();
  for (const BenchRow& row : result.rows) rows.push_back(to_json(row));
  nlohmann::json environment = to_json(read_environment());
  environment.update({{"backend", info.backend},
                      {"compute", info.compute},
                      {"context", info.context},
                      {"device_bytes", result.device_bytes},
                      {"k_cache_nbits", result.k_cache_nbits},
                      {"v_cache_nbits", result.v_cache_nbits},
                      {"prefill_chunk", flags.engine.prefill_chunk},
                      {"read_gb_s", result.read_gb_s},
                      {"repetitions", flags.request.repetitions},
                      {"seed", flags.request.seed},
                      {"weight_bytes", info.weight_bytes}});
  if (!flags.request.trace.empty()) environment["trace"] = flags.request.trace;  // slow steps
  nlohmann::json object = {{"command", "bench"},
                           {"device", info.device},
                           {"model", info.path},
                           {"attention_layers", info.attention_layers},
                           {"kv_heads", info.kv_heads},
                           {"head_dim", info.head_dim},
                           {"max_positions", info.max_positions},
                           {"expert_use", use},
                           {"options", cli::to_json(flags.engine)},
                           {"rows", rows},
                           {"environment", environment}};
  object.update(to_json(facts));
  return object;
}

// The result and its pictures; chart made from the file gives the same bytes.
Status write_report(const nlohmann::json& object, const std::string& folder) {
  chart::Results results;
  HLWQ_TRY(chart::add_results(object, "the result", results));
  HLWQ_TRY_ASSIGN(const std::vector<chart::NamedPicture> pictures, chart::draw_charts(results));
  HLWQ_TRY(chart::write_charts(pictures, folder));
  return write_file(folder + "/results.json", json_text(object) + "\n");
}

std::string bytes_or_dash(const std::optional<int64_t>& bytes) {
  return bytes ? format_bytes(*bytes) : "-";
}

// How misses of decode steps were split, and what they took.
void print_misses(const BenchRow& row) {
  ExpertTraffic all;
  for (const ExpertTraffic& layer : row.experts) {
    all.misses += layer.misses;
    all.on_cpu += layer.on_cpu;
    all.bytes += layer.bytes;
    all.stall_s += layer.stall_s;
    all.cpu_s += layer.cpu_s;
  }
  const int64_t brought = all.misses - all.on_cpu;
  if (brought == 0 || all.on_cpu == 0 || all.stall_s <= 0 || all.cpu_s <= 0) return;
  const double record = static_cast<double>(all.bytes) / static_cast<double>(brought);
  print(fmt::format(
      "\n{}: {:.1f} % of the misses on the CPU, which read {:.1f} GB/s; the bus brought "
      "the others at {:.1f} GB/s\n",
      row.name, 100 * static_cast<double>(all.on_cpu) / static_cast<double>(all.misses),
      record * static_cast<double>(all.on_cpu) / all.cpu_s * 1e-9,
      static_cast<double>(all.bytes) / all.stall_s * 1e-9));
}

std::string kv_bits(const BenchResult& result) {
  if (result.k_cache_nbits == result.v_cache_nbits)
    return fmt::format("{} bits", result.k_cache_nbits);
  return fmt::format("{} bits of keys, {} of values", result.k_cache_nbits, result.v_cache_nbits);
}

void print_table(const BenchFlags& flags, const Engine& engine, const BenchResult& result) {
  const ModelInfo& info = engine.info();
  const Environment environment = read_environment();
  const auto or_unknown = [](const std::string& text) { return text.empty() ? "unknown" : text; };
  print(fmt::format("model    {}: {} layers, {} of weights, {} compute, KV cache at {}\n",
                    info.path, info.layers, format_bytes(info.weight_bytes), info.compute,
                    kv_bits(result)));
  print(fmt::format("device   {}: {} of memory, read at {:.1f} GB/s\n", info.backend,
                    format_bytes(result.device_bytes), result.read_gb_s));
  print(fmt::format("host     {}, {} CPUs\n", or_unknown(environment.cpu), environment.cpus));
  print(fmt::format("build    hlwq {}, commit {}", environment.version,
                    or_unknown(environment.commit)));
  if (!environment.cuda_toolkit.empty())
    print(fmt::format(", CUDA {}, driver {}", environment.cuda_toolkit,
                      or_unknown(environment.nvidia_driver)));
  print(fmt::format("\nruns     median of {}, least and most; prompts in chunks of {}\n\n",
                    flags.request.repetitions, flags.engine.prefill_chunk));

  size_t widest = 4;
  for (const BenchRow& row : result.rows) widest = std::max(widest, row.name.size());
  print(fmt::format("{:<{}}  {:>10} {:>10} {:>10}  {:>8} {:>8} {:>7}  {:>9} {:>9}\n", "", widest,
                    "tok/s", "least", "most", "GB/s", "of roof", "hits", "GPU peak", "host peak"));
  for (const BenchRow& row : result.rows) {
    const std::string rate = row.gb_s ? fmt::format("{:.1f}", *row.gb_s) : "-";
    const std::string share = row.roof_share ? fmt::format("{:.1f} %", 100 * *row.roof_share) : "-";
    const std::string hits = row.hit_rate ? fmt::format("{:.1f} %", 100 * *row.hit_rate) : "-";
    print(fmt::format("{:<{}}  {:>10.1f} {:>10.1f} {:>10.1f}  {:>8} {:>8} {:>7}  {:>9} {:>9}\n",
                      row.name, widest, row.tok_s, row.tok_s_least, row.tok_s_most, rate, share,
                      hits, bytes_or_dash(row.vram_peak_bytes), format_bytes(row.host_bytes)));
  }
  for (const BenchRow& row : result.rows) print_misses(row);
}

// "0" asks for no rows of a kind.
void drop_zeros(std::vector<int64_t>& values) { std::erase(values, 0); }

int run(BenchFlags& flags) {
  if (flags.model.empty() == flags.synthetic.empty())
    return bad_usage("wanted one of MODEL and --synthetic");
  BenchRequest& request = flags.request;
  drop_zeros(request.prompts);
  if (request.prompts.empty() && request.generate == 0)
    return bad_usage("--prompt 0 --generate 0 leaves nothing to measure");
  flags.engine.step_tokens = request.widest_batch();
  flags.engine.kv_check = "off";  // would be in the peak of memory
  if (!flags.engine.vram.empty()) flags.engine.sequences = request.widest_batch();
  if (flags.engine.context == 0) flags.engine.context = request.context();
  if (const Status checked = check_options(flags.engine); !checked)
    return bad_usage(checked.error().message);
  if (flags.engine.context < request.context())
    return bad_usage(fmt::format("--context: got {}, the measurements need {}",
                                 flags.engine.context, request.context()));

  // Before minutes of work: what cannot be read or written is found out soonest.
  if (!flags.chart.empty())
    if (const Status made = chart::make_folder(flags.chart); !made) return failed(made.error());
  auto facts = flags.synthetic.empty() ? read_checkpoint_facts(flags.model)
                                       : Result<CheckpointFacts>(CheckpointFacts());
  if (!facts) return failed(facts.error());
  auto engine = flags.synthetic.empty() ? open_engine(flags.model, flags.engine)
                                        : Engine::open_synthetic(flags.synthetic, flags.engine);
  if (!engine && !flags.synthetic.empty() && engine.error().code == ErrorCode::kInvalidArgument)
    return bad_usage("--synthetic: " + engine.error().message);
  if (!engine) return failed(engine.error());
  Progress progress("measuring");
  request.progress = [&](int64_t done, int64_t total) {
    progress.update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
  };
  request.cancel = catch_interrupts();
  const auto result = engine->bench(request);
  if (!result) return failed(result.error());
  if (!flags.synthetic.empty()) facts->parameters = engine->info().parameters;
  if (flags.json || !flags.chart.empty()) {
    const auto object = report(flags, *engine, *facts, *result);
    if (!object) return failed(object.error());
    if (!flags.chart.empty())
      if (const Status written = write_report(*object, flags.chart); !written)
        return failed(written.error());
    if (flags.json) return print_json(*object);
  }
  print_table(flags, *engine, *result);
  return finish_output();
}

}  // namespace

void add_bench(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "bench", "Speed of prompts and decode steps, and their share of the memory's speed");
  const auto flags = std::make_shared<BenchFlags>();
  BenchRequest& request = flags->request;
  const auto tokens = in_range(0, int64_t{1} << 30);
  command->add_option("MODEL", flags->model, "model folder")->type_name("DIR");
  command
      ->add_option(
          "--synthetic", flags->synthetic,
          "in place of MODEL: random weights, as nemotron-30b-a3b[:seed=N][:skew=S][:layers=K]")
      ->type_name("SPEC");
  command->add_option("--prompt", request.prompts, "tokens of a prompt; 0: no prompts")
      ->delimiter(',')
      ->type_name("N,...")
      ->check(tokens)
      ->capture_default_str();
  command->add_option("--generate", request.generate, "decode steps of a repetition; 0: none")
      ->type_name("N")
      ->check(tokens)
      ->capture_default_str();
  command
      ->add_option("--batch", request.batches,
                   "sequences decoded side by side; from the second on, at the first depth alone")
      ->delimiter(',')
      ->type_name("N,...")
      ->check(in_range(1, 4096))
      ->capture_default_str();
  command->add_option("--depth", request.depths, "tokens a sequence holds before it is decoded")
      ->delimiter(',')
      ->type_name("N,...")
      ->check(tokens)
      ->capture_default_str();
  command->add_option("--reps", request.repetitions, "repetitions, of which the median is taken")
      ->type_name("N")
      ->check(in_range(1, 1000))
      ->capture_default_str();
  command->add_option("--seed", request.seed, "of the token ids")
      ->type_name("N")
      ->check(in_range(0, int64_t{1} << 53))
      ->capture_default_str();
  command
      ->add_option(
          "--trace", request.trace,
          "write the experts that were chosen to FILE, for plan --trace; the rows are then "
          "those of slow steps")
      ->type_name("FILE");
  command
      ->add_option("--chart", flags->chart,
                   "folder to write charts of the result into (SVG and PNG), and results.json "
                   "for `hlwq chart`")
      ->type_name("DIR");
  command->add_flag("--json", flags->json, "one JSON object");
  add_flags(*command, flags->engine, "Engine");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
