// hlwq logits: token ids in, logits out. Needs no tokenizer.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "api/check_options.h"
#include "base/sha256.h"
#include "commands.h"
#include "hlwq/engine.h"
#include "io/file.h"
#include "open_engine.h"
#include "option_flags.h"
#include "token_ids.h"

namespace hlwq::cli {
namespace {

constexpr uint64_t kMostFileBytes = uint64_t{1} << 30;

struct LogitsFlags {
  std::string model, synthetic;
  std::optional<std::string> ids, ids_file;
  LogitsRequest request;
  bool json = false;
  EngineOptions engine;
};

nlohmann::json shortest_of(const std::vector<float>& values) {
  nlohmann::json array = nlohmann::json::array();
  for (const float value : values) array.push_back(shortest(value));
  return array;
}

nlohmann::json report(const LogitsRequest& request, const LogitsResult& result,
                      const std::string& hash) {
  nlohmann::json positions = nlohmann::json::array();
  for (const PositionLogits& position : result.positions)
    positions.push_back({{"position", position.position},
                         {"top_ids", position.top_ids},
                         {"top_logits", shortest_of(position.top_logits)}});
  return {{"ids", request.ids}, {"positions", positions}, {"last", shortest_of(result.last)},
          {"sha256", hash},     {"batch", request.batch}, {"copies_equal", result.copies_equal}};
}

int run(LogitsFlags& flags) {
  LogitsRequest& request = flags.request;
  if (flags.model.empty() == flags.synthetic.empty())
    return bad_usage("wanted one of MODEL and --synthetic");
  if (flags.ids.has_value() == flags.ids_file.has_value())
    return bad_usage("wanted one of --ids and --ids-file");
  // The chunk of this command is what the engine calls prefill chunk; copies share each step.
  flags.engine.prefill_chunk = request.chunk;
  flags.engine.step_tokens = request.chunk * request.batch;
  if (const Status checked = check_options(flags.engine); !checked)
    return bad_usage(checked.error().message);
  if (flags.ids) {
    auto ids = parse_ids(*flags.ids, "--ids");
    if (!ids) return bad_usage(ids.error().message);
    request.ids = std::move(*ids);
  } else {
    const auto text = read_text_file(*flags.ids_file, kMostFileBytes);
    if (!text) return failed(text.error());
    auto ids = parse_ids(*text, *flags.ids_file);
    if (!ids) return failed(ids.error());
    request.ids = std::move(*ids);
  }
  if (request.prefill && *request.prefill > static_cast<int64_t>(request.ids.size()))
    return bad_usage(
        fmt::format("--prefill: got {}, there are {} ids", *request.prefill, request.ids.size()));

  auto engine = flags.synthetic.empty() ? open_engine(flags.model, flags.engine)
                                        : Engine::open_synthetic(flags.synthetic, flags.engine);
  if (!engine) return failed(engine.error());
  const auto result = engine->logits(request);
  if (!result) return failed(result.error());
  const std::string hash = sha256_hex(std::as_bytes(std::span(result->last)));
  if (flags.json) return print_json(report(request, *result, hash));
  for (const PositionLogits& position : result->positions) {
    print(fmt::format("position {}\n", position.position));
    for (size_t i = 0; i < position.top_ids.size(); ++i)
      print(fmt::format("{:>8} {:>12.6f}\n", position.top_ids[i], position.top_logits[i]));
  }
  print(fmt::format("sha256 of the last logits {}\n", hash));
  if (request.batch > 1)
    print(fmt::format("{} copies {}\n", request.batch,
                      result->copies_equal ? "agree to the bit" : "DIFFER"));
  return finish_output();
}

}  // namespace

void add_logits(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand("logits", "Token ids in, logits out");
  const auto flags = std::make_shared<LogitsFlags>();
  LogitsRequest& request = flags->request;
  const auto positive = in_range(1, int64_t{1} << 16);
  command->add_option("MODEL", flags->model, "model folder")->type_name("DIR");
  command->add_option("--synthetic", flags->synthetic, "a model with random weights, as for bench")
      ->type_name("SPEC");
  command->add_option("--ids", flags->ids, "token ids, such as 1,2,3")->type_name("IDS");
  command->add_option("--ids-file", flags->ids_file, "file of token ids (commas or white space)")
      ->type_name("FILE");
  command->add_option("--top", request.top, "how many of the largest logits to report")
      ->type_name("N")
      ->check(in_range(0, int64_t{1} << 30))
      ->capture_default_str();
  command->add_flag("--all", request.all, "report every position, not only the last");
  command
      ->add_option("--prefill", request.prefill,
                   "how many ids go in as a prompt, the rest one by one; unset: all")
      ->type_name("N")
      ->check(in_range(0, int64_t{1} << 40));
  command->add_option("--chunk", request.chunk, "tokens of the prompt in one step")
      ->type_name("N")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--batch", request.batch, "copies of the sequence in the same steps")
      ->type_name("N")
      ->check(in_range(1, 256))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "one JSON object, with all logits of the last position");
  add_flags(*command, flags->engine, "Engine");
  command->remove_option(command->get_option("--prefill-chunk"));  // --chunk, here
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
