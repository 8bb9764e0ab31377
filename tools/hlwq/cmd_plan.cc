// hlwq plan: what a model would take of this machine's GPU, and how fast it would be there.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/check_options.h"
#include "base/units.h"
#include "commands.h"
#include "environment.h"
#include "hlwq/plan.h"
#include "model/synthetic.h"
#include "option_flags.h"
#include "or_null.h"

namespace hlwq::cli {
namespace {

struct PlanFlags {
  PlanRequest request;
  std::string cache_size_default = EngineOptions().moe_expert_cache_size;
  bool json = false;
};

nlohmann::json to_json(const PlanRow& row) {
  return {{"vram_bytes", row.vram_bytes},
          {"slots", row.slots},
          {"slots_per_layer", row.slots_per_layer},
          {"resident_bytes", row.resident_bytes},
          {"host_bytes", row.host_bytes},
          {"resident", row.resident},
          {"streamed", row.streamed},
          {"fits", row.fits},
          {"hit_rate", row.hit_rate},
          {"misses_per_step", row.misses_per_step},
          {"cpu_per_step", row.cpu_per_step},
          {"belady_hit_rate", or_null(row.belady_hit_rate)},
          {"predicted_tok_s", or_null(row.predicted_tok_s)}};
}

nlohmann::json report(const PlanResult& plan) {
  nlohmann::json rows = nlohmann::json::array();
  for (const PlanRow& row : plan.rows) rows.push_back(to_json(row));
  nlohmann::json environment = to_json(read_environment());
  environment["backend"] = plan.backend;
  return {{"command", "plan"},
          {"environment", environment},
          {"attention_layers", plan.attention_layers},
          {"kv_heads", plan.kv_heads},
          {"head_dim", plan.head_dim},
          {"max_positions", plan.max_positions},
          {"device", plan.device},
          {"model", plan.model},
          {"backend", plan.backend},
          {"context", plan.context},
          {"batch", plan.batch},
          {"device_bytes", plan.device_bytes},
          {"free_bytes", plan.free_bytes},
          {"layers", plan.layers},
          {"moe_layers", plan.moe_layers},
          {"experts", plan.experts},
          {"experts_used", plan.experts_used},
          {"expert_bytes", plan.expert_bytes},
          {"expert_record_bytes", plan.expert_record_bytes},
          {"least_vram_bytes", plan.least_vram_bytes},
          {"resident_step_s", plan.resident_step_s},
          {"cached_step_s", plan.cached_step_s},
          {"miss_s", plan.miss_s},
          {"cpu_expert_s", plan.cpu_expert_s},
          {"bus_expert_s", plan.bus_expert_s},
          {"traced_steps", plan.traced_steps},
          {"rows", rows},
          {"chosen", or_null(plan.chosen)},
          {"advice", plan.advice}};
}

void print_table(const PlanFlags& flags, const PlanResult& plan) {
  print(
      fmt::format("model    {}: {} layers, {} of them with {} experts ({} used, {} each, {} in "
                  "all)\n",
                  plan.model, plan.layers, plan.moe_layers, plan.experts, plan.experts_used,
                  format_bytes(plan.expert_record_bytes), format_bytes(plan.expert_bytes)));
  print(fmt::format("device   {}: {} of {} free\n", plan.backend, format_bytes(plan.free_bytes),
                    format_bytes(plan.device_bytes)));
  print(fmt::format(
      "steps    of {}, context {}: {:.3f} ms, {:.3f} ms with a slot for every expert, "
      "{:.4f} ms more for a miss\n",
      plan.batch == 1 ? "a sequence" : fmt::format("{} sequences", plan.batch), plan.context,
      1e3 * plan.resident_step_s, 1e3 * plan.cached_step_s, 1e3 * plan.miss_s));
  const auto rate = [&](double seconds) {
    return static_cast<double>(plan.expert_record_bytes) / seconds * 1e-9;
  };
  if (plan.cpu_expert_s > 0)
    print(fmt::format(
        "misses   {:.4f} ms on the CPU ({:.1f} GB/s) while the bus takes {:.4f} ms ({:.1f} GB/s)\n",
        1e3 * plan.cpu_expert_s, rate(plan.cpu_expert_s), 1e3 * plan.bus_expert_s,
        rate(plan.bus_expert_s)));
  print(
      fmt::format("routing  {}\n\n",
                  plan.traced_steps > 0
                      ? fmt::format("{} traced steps of {}", plan.traced_steps, flags.request.trace)
                      : std::string("even, so the hit rate is a low guess (--trace)")));
  const bool traced = plan.traced_steps > 0;
  const bool split = plan.cpu_expert_s > 0;
  print(fmt::format("   {:>9} {:>7} {:>8}  {:>9} {:>9}  {:>7} {}{}{:>9}\n", "--vram", "slots",
                    "a layer", "GPU", "host", "hits", traced ? " at best " : "",
                    split ? " by bus  by CPU " : "", "tok/s"));
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    const PlanRow& row = plan.rows[i];
    if (!row.predicted_tok_s) {
      print(fmt::format("   {:>9}  too small: {} is the least\n", format_bytes(row.vram_bytes),
                        format_bytes(plan.least_vram_bytes)));
      continue;
    }
    const std::string best = !traced ? ""
                             : row.belady_hit_rate
                                 ? fmt::format("{:>7.1f} % ", 100 * *row.belady_hit_rate)
                                 : "       - ";
    const std::string by =
        split ? fmt::format("{:>7.1f} {:>7.1f} ", row.misses_per_step - row.cpu_per_step,
                            row.cpu_per_step)
              : "";
    print(fmt::format(" {} {:>9} {:>7} {:>8}  {:>9} {:>9}  {:>5.1f} % {}{}{:>9.1f}{}\n",
                      i == plan.chosen ? '*' : ' ', format_bytes(row.vram_bytes), row.slots,
                      row.slots_per_layer, format_bytes(row.resident_bytes),
                      format_bytes(row.host_bytes), 100 * row.hit_rate, best, by,
                      *row.predicted_tok_s, row.fits ? "" : "  (more than is free)"));
  }
  print(fmt::format("\nchoose   {}\n", plan.advice));
}

// --vram is a list here.
Result<std::vector<int64_t>> parse_budgets(const std::string& text) {
  std::vector<int64_t> budgets;
  for (size_t at = 0; !text.empty() && at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    auto bytes = parse_bytes(std::string_view(text).substr(at, comma - at));
    if (!bytes) return fail(bytes.error().code, "--vram: " + bytes.error().message);
    if (*bytes < 1)
      return fail(ErrorCode::kInvalidArgument, "--vram: got 0, wanted 1 byte or more");
    budgets.push_back(*bytes);
    at = comma + 1;
  }
  return budgets;
}

int run(PlanFlags& flags) {
  PlanRequest& request = flags.request;
  if (request.model.empty() == request.synthetic.empty())
    return bad_usage("wanted one of MODEL and --synthetic");
  if (const Status checked = check_options(request.options); !checked)
    return bad_usage(checked.error().message);
  if (request.options.moe_expert_cache_size != flags.cache_size_default)
    return bad_usage(
        "--moe-expert-cache-size: its values are what a plan compares; --vram takes "
        "budgets");
  if (const auto spec = parse_synthetic_spec(request.synthetic);
      !request.synthetic.empty() && !spec)
    return bad_usage("--synthetic: " + spec.error().message);
  auto budgets = parse_budgets(request.options.vram);
  if (!budgets) return bad_usage(budgets.error().message);
  request.vram_bytes = std::move(*budgets);
  request.options.vram.clear();
  const auto planned = plan(request);
  if (!planned) return failed(planned.error());
  if (flags.json) return print_json(report(*planned));
  print_table(flags, *planned);
  return finish_output();
}

}  // namespace

void add_plan(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "plan", "What a model takes of this GPU, expert hits and speed for several budgets");
  const auto flags = std::make_shared<PlanFlags>();
  PlanRequest& request = flags->request;
  command->add_option("MODEL", request.model, "model folder")->type_name("DIR");
  command
      ->add_option(
          "--synthetic", request.synthetic,
          "in place of MODEL: random weights, as nemotron-30b-a3b[:seed=N][:skew=S][:layers=K]")
      ->type_name("SPEC");
  command->add_option("--batch", request.batch, "sequences decoded side by side")
      ->type_name("N")
      ->check(in_range(1, 4096))
      ->capture_default_str();
  command
      ->add_option(
          "--trace", request.trace,
          "routing that run or bench --trace recorded, for the hit rates; without it every "
          "expert is as likely")
      ->type_name("FILE");
  command->add_flag("--json", flags->json, "one JSON object");
  add_flags(*command, request.options, "Engine");
  command->get_option("--vram")
      ->description(
          "budgets for everything on the GPU, such as 8GB,12GB,24GB; without it as many "
          "as 8, 16, 32, ... slots in each MoE layer take, up to all")
      ->type_name("BYTES,...");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
