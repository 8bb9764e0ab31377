// hlwq ppl: perplexity of a text, and the distance from another checkpoint.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/check_options.h"
#include "checkpoint_facts.h"
#include "commands.h"
#include "environment.h"
#include "hlwq/engine.h"
#include "interrupt.h"
#include "io/file.h"
#include "open_engine.h"
#include "option_flags.h"
#include "progress.h"
#include "score_file.h"

namespace hlwq::cli {
namespace {

constexpr uint64_t kMostFileBytes = uint64_t{1} << 30;
constexpr int64_t kStepTokens = 2048;  // four windows of 512 side by side

struct PplFlags {
  std::string model, file, kl_against, per_token, label;
  std::optional<double> bits_per_weight;
  int64_t window = 512, windows = 0;
  bool json = false;
  EngineOptions engine;
};

nlohmann::json report(const PplFlags& flags, const CheckpointFacts& facts, const ModelInfo& info,
                      const PerplexityResult& result, double seconds) {
  const auto of = [&](double Divergence::*field) {
    return result.divergence ? nlohmann::json(*result.divergence.*field) : nlohmann::json();
  };
  nlohmann::json object = {
      {"command", "ppl"},
      {"model", flags.model},
      {"file", flags.file},
      {"kl_against",
       flags.kl_against.empty() ? nlohmann::json() : nlohmann::json(flags.kl_against)},
      {"device", info.device},
      {"compute", info.compute},
      {"k_cache_nbits", info.k_cache_nbits},
      {"v_cache_nbits", info.v_cache_nbits},
      {"ppl", result.ppl},
      {"nll", result.nll},
      {"tokens", result.tokens},
      {"windows", result.windows},
      {"window", flags.window},
      {"stderr", result.ppl_stderr},
      {"nll_stderr", result.nll_stderr},
      {"kl_mean", of(&Divergence::kl_mean)},
      {"kl_mean_stderr", of(&Divergence::kl_mean_stderr)},
      {"kl_median", of(&Divergence::kl_median)},
      {"kl_p99", of(&Divergence::kl_p99)},
      {"kl_p999", of(&Divergence::kl_p999)},
      {"top1", of(&Divergence::top1)},
      {"top1_stderr", of(&Divergence::top1_stderr)},
      {"ppl_reference", of(&Divergence::ppl_reference)},
      {"ln_ppl_ratio", of(&Divergence::ln_ppl_ratio)},
      {"ln_ppl_ratio_stderr", of(&Divergence::ln_ppl_ratio_stderr)},
      {"seconds", seconds},
      {"environment", to_json(read_environment())}};
  object["environment"]["backend"] = info.backend;
  object.update(to_json(facts));
  return object;
}

void print_text(const PplFlags& flags, const PerplexityResult& result, double seconds) {
  print(fmt::format(
      "perplexity {:.4f} +- {:.4f}: {} windows of {} tokens, {} predictions, {:.1f} s\n",
      result.ppl, result.ppl_stderr, result.windows, flags.window, result.tokens, seconds));
  if (!result.divergence) return;
  const Divergence& from = *result.divergence;
  print(fmt::format(
      "against {}: mean KL {:.6f} +- {:.6f} nats, median {:.6f}, 99th percentile {:.6f}, 99.9th "
      "{:.6f}\n",
      flags.kl_against, from.kl_mean, from.kl_mean_stderr, from.kl_median, from.kl_p99,
      from.kl_p999));
  print(fmt::format(
      "same top token {:.2f} +- {:.2f} %; its perplexity {:.4f}, ln ratio {:+.5f} +- {:.5f}\n",
      100 * from.top1, 100 * from.top1_stderr, from.ppl_reference, from.ln_ppl_ratio,
      from.ln_ppl_ratio_stderr));
}

int run(PplFlags& flags) {
  flags.engine.step_tokens = kStepTokens;
  flags.engine.kv_check = "off";  // measuring is what this does
  if (const Status checked = check_options(flags.engine); !checked)
    return bad_usage(checked.error().message);
  const auto text = read_text_file(flags.file, kMostFileBytes);
  if (!text) return failed(text.error());
  auto facts = read_checkpoint_facts(flags.model);
  if (!facts) return failed(facts.error());
  if (!flags.label.empty()) facts->label = flags.label;
  if (flags.bits_per_weight) facts->bits_per_weight = flags.bits_per_weight;
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

  PerplexityRequest request = {
      .ids = std::move(*ids), .window = flags.window, .windows = flags.windows};
  Progress progress("windows");
  request.progress = [&](int64_t done, int64_t total) {
    progress.update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
  };
  std::optional<ScoreFile> scores;
  if (!flags.per_token.empty()) {
    auto created = ScoreFile::create(flags.per_token, reference.has_value());
    if (!created) return failed(created.error());
    scores = std::move(*created);
    request.on_window = [&](std::span<const TokenScore> window) { return scores->add(window); };
  }
  request.cancel = catch_interrupts();
  const auto start = std::chrono::steady_clock::now();
  const auto result = engine->perplexity(request, reference ? &*reference : nullptr);
  // A full disk ends the measurement; its own message says more than that it was cancelled.
  if (scores && (result || result.error().code == ErrorCode::kCancelled))
    if (const Status written = result ? scores->commit() : scores->status(); !written)
      return failed(written.error());
  if (!result)
    return failed({result.error().code, fmt::format("{}: {}", flags.file, result.error().message)});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (flags.json) return print_json(report(flags, *facts, engine->info(), *result, seconds));
  print_text(flags, *result, seconds);
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
  command
      ->add_option("--per-token", flags->per_token,
                   "write window, position, id and nll of every predicted token to FILE, with "
                   "--kl-against also kl and same_top")
      ->type_name("FILE");
  command
      ->add_option("--label", flags->label,
                   "name of the model's series in charts; default: what its checkpoint says")
      ->type_name("TEXT");
  command
      ->add_option("--bits-per-weight", flags->bits_per_weight,
                   "of a model whose codes were expanded; default: of the coded matrices")
      ->type_name("X")
      ->check(CLI::Range(0.1, 64.0).description(""));
  command->add_flag("--json", flags->json, "one JSON object");
  add_flags(*command, flags->engine, "Engine");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
