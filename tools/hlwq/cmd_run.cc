// hlwq run: a prompt in, text out as it comes.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/check_options.h"
#include "base/log.h"
#include "commands.h"
#include "expert_report.h"
#include "hlwq/engine.h"
#include "interrupt.h"
#include "open_engine.h"
#include "option_flags.h"

namespace hlwq::cli {
namespace {

struct RunFlags {
  std::string model;
  std::optional<std::string> prompt;
  bool chat = false, json = false;
  int64_t tokens = 128;
  std::vector<std::string> stop;
  std::string trace;
  SamplingOptions sampling;
  EngineOptions engine;
};

// -p, or standard input without its last line end.
Result<std::string> prompt_of(const RunFlags& flags) {
  if (flags.prompt) return *flags.prompt;
  if (isatty(STDIN_FILENO) == 1) log(LogLevel::kInfo, "type the prompt, then Ctrl-D");
  HLWQ_TRY_ASSIGN(std::string text, read_standard_input());
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<std::vector<int32_t>> chat_ids(const Engine& engine, const std::string& prompt) {
  const nlohmann::json messages = {{{"role", "user"}, {"content", prompt}}};
  HLWQ_TRY_ASSIGN(ChatPrompt chat, engine.chat_prompt({.messages = json_text(messages)}));
  return std::move(chat.ids);
}

nlohmann::json report(const Engine& engine, const GenerateRequest& request,
                      const GenerateResult& result) {
  nlohmann::json sampling = to_json(engine.resolve(request.sampling));
  sampling["seed"] = result.seed;
  return {{"text", result.text},
          {"ids", result.ids},
          {"prompt_tokens", result.prompt_tokens},
          {"generated_tokens", result.generated_tokens},
          {"prompt_tok_s", result.prompt_tok_s},
          {"decode_tok_s", result.decode_tok_s},
          {"experts", experts_to_json(result.experts)},
          {"finish_reason", result.finish_reason},
          {"prompt_ids", request.ids},
          {"sampling", sampling},
          {"device", engine.info().device},
          {"compute", engine.info().compute}};
}

int run(const RunFlags& flags) {
  if (const Status checked = check_options(flags.engine); !checked)
    return bad_usage(checked.error().message);
  if (const Status checked = check_options(flags.sampling); !checked)
    return bad_usage(checked.error().message);
  for (const std::string& stop : flags.stop)
    if (stop.empty()) return bad_usage("--stop: got an empty string");
  const auto prompt = prompt_of(flags);
  if (!prompt) return failed(prompt.error());

  auto engine = open_engine(flags.model, flags.engine);
  if (!engine) return failed(engine.error());
  auto ids = flags.chat ? chat_ids(*engine, *prompt) : engine->tokenize(*prompt);
  if (!ids) return failed(ids.error());
  GenerateRequest request = {.ids = std::move(*ids),
                             .max_tokens = flags.tokens,
                             .sampling = flags.sampling,
                             .stop = flags.stop,
                             .cancel = catch_interrupts(),
                             .trace = flags.trace};
  bool printed = false;
  if (!flags.json)
    request.on_text = [&](std::string_view piece) {
      print(piece);
      printed = true;
      return true;
    };
  const auto result = engine->generate(request);
  if (!result) {
    if (printed) print("\n");
    return failed(result.error());
  }
  int code = kDone;
  if (flags.json) {
    code = print_json(report(*engine, request, *result));
  } else {
    print("\n");
    code = finish_output();
    const auto rate = hit_rate(result->experts);
    const std::string hits = rate ? fmt::format("; {:.1f} % expert hits", 100 * *rate) : "";
    log(LogLevel::kInfo,
        fmt::format("{} prompt tokens at {:.1f} tok/s, {} generated at {:.1f} tok/s, ended by {}{}",
                    result->prompt_tokens, result->prompt_tok_s, result->generated_tokens,
                    result->decode_tok_s, result->finish_reason, hits));
  }
  if (result->finish_reason == "cancelled") return failed({ErrorCode::kCancelled, "interrupted"});
  return code;
}

}  // namespace

void add_run(CLI::App& app, Commands& commands) {
  CLI::App* const command =
      app.add_subcommand("run", "Continue a prompt, or answer it with --chat");
  const auto flags = std::make_shared<RunFlags>();
  command->add_option("MODEL", flags->model, "model folder")->required()->type_name("DIR");
  command
      ->add_option("-p,--prompt", flags->prompt,
                   "the prompt; without it, standard input less its last line end")
      ->type_name("TEXT");
  command->add_flag("--chat", flags->chat, "wrap the prompt in the model's chat template");
  command->add_option("-n,--max-tokens", flags->tokens, "most tokens to generate")
      ->type_name("N")
      ->check(in_range(0, int64_t{1} << 40))
      ->capture_default_str();
  command->add_option("--stop", flags->stop, "text that ends the answer; may be given again")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command
      ->add_option("--trace", flags->trace,
                   "write the experts that were chosen to FILE, for plan --trace; slow")
      ->type_name("FILE");
  command->add_flag("--json", flags->json, "one JSON object instead of streamed text");
  add_flags(*command, flags->sampling, "Sampling");
  add_flags(*command, flags->engine, "Engine");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
