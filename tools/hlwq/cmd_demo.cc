// hlwq demo: the shipped tiny model quantized, measured and run.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "commands.h"
#include "convert_report.h"
#include "hlwq/engine.h"
#include "interrupt.h"
#include "io/file.h"
#include "open_engine.h"
#include "serving.h"

namespace hlwq::cli {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kWindow = 512, kWindows = 32, kGeneratedTokens = 60;
constexpr const char* kPrompts[] = {"The city of", "In 1942 , the ship"};

struct DemoFlags {
  std::string out;
  bool json = false, serve = false;
  int64_t port = 8000;
};

// Removes the folder it names, if any.
struct Cleanup {
  std::string folder;
  ~Cleanup() {
    std::error_code ignored;
    if (!folder.empty()) fs::remove_all(folder, ignored);
  }
};

// Where the model lies: beside an installed program, else in the source tree it was built from.
Result<std::string> find_tiny_model() {
  std::error_code ec;
  const fs::path program = fs::read_symlink("/proc/self/exe", ec);
  for (const std::string& folder :
       {(program.parent_path().parent_path() / "share/hlwq/models/tiny-nemotron-h").string(),
        std::string(HLWQ_DEMO_MODEL)})
    if (file_exists(folder + "/config.json")) return folder;
  return fail(ErrorCode::kMissing,
              fmt::format("the demonstration's model is not at {}", HLWQ_DEMO_MODEL));
}

Result<std::string> temporary_folder() {
  std::string pattern = (fs::temp_directory_path() / "hlwq-demo-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr)
    return fail(ErrorCode::kIo, fmt::format("{}: cannot create", pattern));
  return pattern;
}

struct DemoReport {
  QuantizeReport quantize;
  PerplexityResult before, after;
  std::vector<std::pair<std::string, GenerateResult>> generated;
};

Status measure(Engine& original, Engine& coded, const std::string& text, DemoReport& report) {
  HLWQ_TRY_ASSIGN(const std::vector<int32_t> ids, coded.tokenize(text, /*add_special=*/false));
  PerplexityRequest request{
      .ids = ids, .window = kWindow, .windows = kWindows, .cancel = catch_interrupts()};
  HLWQ_TRY_ASSIGN(report.before, original.perplexity(request));
  HLWQ_TRY_ASSIGN(report.after, coded.perplexity(request, &original));
  return {};
}

Status generate(Engine& coded, bool stream, DemoReport& report) {
  for (const char* prompt : kPrompts) {
    if (stream) print(fmt::format("\n> {}", prompt));
    HLWQ_TRY_ASSIGN(std::vector<int32_t> ids, coded.tokenize(prompt));
    SamplingOptions sampling;
    sampling.temperature = 0.7;
    sampling.top_p = 0.95;
    sampling.seed = 7;
    GenerateRequest request{.ids = std::move(ids),
                            .max_tokens = kGeneratedTokens,
                            .sampling = sampling,
                            .cancel = catch_interrupts()};
    if (stream)
      request.on_text = [](std::string_view piece) {
        print(piece);
        return true;
      };
    HLWQ_TRY_ASSIGN(GenerateResult result, coded.generate(request));
    if (stream) print("\n");
    if (result.finish_reason == "cancelled") return fail(ErrorCode::kCancelled, "interrupted");
    report.generated.emplace_back(prompt, std::move(result));
  }
  return {};
}

Result<DemoReport> demonstrate(const std::string& model, const std::string& out, bool json) {
  DemoReport report;
  const auto say = [&](const std::string& text) {
    if (!json) print(text);
  };
  say("A toy of 17.6 M parameters that ships with hlwq (models/tiny-nemotron-h/README.md).\n\n"
      "Quantizing to 5-bit HLWQ codes\n");
  {
    Progress progress("quantizing", /*is_bytes=*/true);
    QuantizeOptions options;
    options.force = true;
    options.progress = show_progress(progress);
    HLWQ_TRY_ASSIGN(report.quantize, quantize_checkpoint(model, out, options));
  }
  say(to_text(report.quantize));

  HLWQ_TRY_ASSIGN(const std::string text, read_text_file(model + "/wikitext-sample.txt", 1 << 20));
  EngineOptions options;
  options.step_tokens = 4 * kWindow;
  HLWQ_TRY_ASSIGN(Engine coded, open_engine(out, options));
  {
    EngineOptions exact = options;
    exact.compute = "exact";
    HLWQ_TRY_ASSIGN(Engine original, open_engine(model, exact));
    say(fmt::format("\nPerplexity of a WikiText-2 sample, {} windows of {} tokens ({})\n", kWindows,
                    kWindow, coded.info().backend));
    HLWQ_TRY(measure(original, coded, text, report));
  }
  say(fmt::format("original {:.3f}, on the codes {:.3f}; KL {:.4f} nats, same top token {:.1f} %\n",
                  report.before.ppl, report.after.ppl, report.after.divergence->kl_mean,
                  100 * report.after.divergence->top1));

  say("\nGenerating on the codes\n");
  HLWQ_TRY(generate(coded, !json, report));
  double tokens = 0, seconds = 0;
  for (const auto& [prompt, result] : report.generated) {
    tokens += static_cast<double>(result.generated_tokens);
    seconds += static_cast<double>(result.generated_tokens) / std::max(result.decode_tok_s, 1e-9);
  }
  say(fmt::format("\n{:.0f} tok/s\n", tokens / std::max(seconds, 1e-9)));
  return report;
}

nlohmann::json demo_json(const DemoReport& report) {
  nlohmann::json generated = nlohmann::json::array();
  for (const auto& [prompt, result] : report.generated)
    generated.push_back({{"prompt", prompt},
                         {"text", result.text},
                         {"ids", result.ids},
                         {"prompt_tokens", result.prompt_tokens},
                         {"generated_tokens", result.generated_tokens},
                         {"prompt_tok_s", result.prompt_tok_s},
                         {"decode_tok_s", result.decode_tok_s},
                         {"finish_reason", result.finish_reason}});
  return {{"quantize", to_json(report.quantize)},
          {"ppl_before", report.before.ppl},
          {"ppl_after", report.after.ppl},
          {"kl_mean", report.after.divergence->kl_mean},
          {"kl_p99", report.after.divergence->kl_p99},
          {"top1", report.after.divergence->top1},
          {"tokens", report.after.tokens},
          {"windows", report.after.windows},
          {"generated", generated}};
}

// The quantized model behind the web chat, without the measurements.
int serve_model(const std::string& model, const std::string& out, int64_t port) {
  const auto server = server::Server::create({.port = port, .model_name = "tiny-nemotron-h-q5"});
  if (!server) return failed(server.error());
  {
    Progress progress("quantizing", /*is_bytes=*/true);
    QuantizeOptions options;
    options.force = true;
    options.progress = show_progress(progress);
    if (const auto quantized = quantize_checkpoint(model, out, options); !quantized)
      return failed(quantized.error());
  }
  auto service = open_service(out, {}, {.prefix_cache = "64MiB"});
  if (!service) return failed(service.error());
  print(
      "A toy of 17.6 M parameters, trained on encyclopedia text: it writes sentences, it knows "
      "nothing.\nOpen the address below in a browser; Ctrl-C ends.\n");
  return serve(**server, std::move(*service), {});
}

int run(const DemoFlags& flags) {
  if (flags.serve && flags.json) return bad_usage("--serve and --json do not go together");
  const auto model = find_tiny_model();
  if (!model) return failed(model.error());
  Cleanup cleanup;
  std::string out = flags.out;
  if (out.empty()) {
    const auto folder = temporary_folder();
    if (!folder) return failed(folder.error());
    out = cleanup.folder = *folder;
  }
  if (flags.serve) return serve_model(*model, out, flags.port);
  const auto report = demonstrate(*model, out, flags.json);
  if (!report) return failed(report.error());
  if (flags.json) return print_json(demo_json(*report));
  return finish_output();
}

}  // namespace

void add_demo(CLI::App& app, Commands& commands) {
  CLI::App* const command =
      app.add_subcommand("demo", "Quantize, measure and run the small model that ships with hlwq");
  const auto flags = std::make_shared<DemoFlags>();
  command
      ->add_option("-o,--out", flags->out,
                   "keep the quantized model in this folder (default: a temporary one)")
      ->type_name("DIR");
  command->add_flag("--json", flags->json, "one JSON object");
  command->add_flag("--serve", flags->serve, "talk with it in a browser instead");
  command->add_option("--port", flags->port, "with --serve: where; 0: any that is free")
      ->type_name("N")
      ->check(in_range(0, 65535))
      ->capture_default_str();
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
