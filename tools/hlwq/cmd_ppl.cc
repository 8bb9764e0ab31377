// hlwq ppl: perplexity of a text, and the distance from another checkpoint.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/check_options.h"
#include "commands.h"
#include "hlwq/engine.h"
#include "interrupt.h"
#include "io/file.h"
#include "open_engine.h"
#include "option_flags.h"
#include "progress.h"

namespace hlwq::cli {
namespace {

constexpr uint64_t kMostFileBytes = uint64_t{1} << 30;
constexpr int64_t kStepTokens = 2048;  // four windows of 512 side by side

struct PplFlags {
  std::string model, file, kl_against;
  int64_t window = 512, windows = 0;
  bool json = false;
  EngineOptions engine;
};

nlohmann::json report(const PplFlags& flags, const PerplexityResult& result, double seconds) {
  const auto or_null = [](const std::optional<double>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json();
  };
  return {{"ppl", result.ppl},
          {"nll", result.nll},
          {"tokens", result.tokens},
          {"windows", result.windows},
          {"window", flags.window},
          {"stderr", result.ppl_stderr},
          {"nll_stderr", result.nll_stderr},
          {"kl_mean", or_null(result.kl_mean)},
          {"kl_p99", or_null(result.kl_p99)},
          {"top1", or_null(result.top1)},
          {"seconds", seconds}};
}

int run(PplFlags& flags) {
  flags.engine.step_tokens = kStepTokens;
  flags.engine.kv_check = "off";  // measuring is what this does
  if (const Status checked = check_options(flags.engine); !checked)
    return bad_usage(checked.error().message);
  const auto text = read_text_file(flags.file, kMostFileBytes);
  if (!text) return failed(text.error());
  auto engine = open_engine(flags.model, flags.engine);
  if (!engine) return failed(engine.error());
  std::optional<Engine> reference;
  if (!flags.kl_against.empty()) {
    EngineOptions exact = flags.engine;
    exact.compute = "exact";
    exact.kv_cache_nbits = 16;
    exact.k_cache_nbits = exact.v_cache_nbits = 0;
    auto opened = open_engine(flags.kl_against, exact);
    if (!opened) return failed(opened.error());
    reference = std::move(*opened);
  }
  auto ids = engine->tokenize(*text, /*add_special=*/false);
  if (!ids) return failed(ids.error());

  const auto start = std::chrono::steady_clock::now();
  Progress progress("windows");
  const auto result = engine->perplexity({.ids = std::move(*ids),
                                          .window = flags.window,
                                          .windows = flags.windows,
                                          .progress =
                                              [&](int64_t done, int64_t total) {
                                                progress.update(static_cast<uint64_t>(done),
                                                                static_cast<uint64_t>(total));
                                              },
                                          .cancel = catch_interrupts()},
                                         reference ? &*reference : nullptr);
  if (!result)
    return failed({result.error().code, fmt::format("{}: {}", flags.file, result.error().message)});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (flags.json) return print_json(report(flags, *result, seconds));
  print(fmt::format(
      "perplexity {:.4f} +- {:.4f}: {} windows of {} tokens, {} predictions, {:.1f} s\n",
      result->ppl, result->ppl_stderr, result->windows, flags.window, result->tokens, seconds));
  if (result->kl_mean)
    print(fmt::format(
        "against {}: mean KL {:.6f} nats, 99th percentile {:.6f}, same top token {:.2f} %\n",
        flags.kl_against, *result->kl_mean, *result->kl_p99, 100 * *result->top1));
  return finish_output();
}

}  // namespace

void add_ppl(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "ppl", "Perplexity of a text over windows of their own, and KL against another checkpoint");
  const auto flags = std::make_shared<PplFlags>();
  command->add_option("MODEL", flags->model, "model folder")->required()->type_name("DIR");
  command->add_option("FILE", flags->file, "the text")->required()->type_name("FILE");
  command->add_option("--window", flags->window, "tokens of a window")
      ->type_name("N")
      ->check(in_range(2, int64_t{1} << 24))
      ->capture_default_str();
  command->add_option("--windows", flags->windows, "how many windows; 0: all whole ones")
      ->type_name("N")
      ->check(in_range(0, int64_t{1} << 40))
      ->capture_default_str();
  command
      ->add_option("--kl-against", flags->kl_against,
                   "model folder to compare with; it runs with --compute exact")
      ->type_name("DIR");
  command->add_flag("--json", flags->json, "one JSON object");
  add_flags(*command, flags->engine, "Engine");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
