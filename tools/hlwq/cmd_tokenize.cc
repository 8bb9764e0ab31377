// hlwq tokenize: text to ids and pieces, or back.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "io/printable.h"
#include "text/tokenizer.h"
#include "token_ids.h"

namespace hlwq::cli {
namespace {

struct TokenizeFlags {
  std::string model;
  std::optional<std::string> text;
  bool decode = false, no_special = false, json = false;
};

int run(const TokenizeFlags& flags) {
  std::string text;
  if (flags.text) {
    text = *flags.text;
  } else {
    auto input = read_standard_input();
    if (!input) return failed(input.error());
    text = std::move(*input);
  }
  const auto tokenizer = Tokenizer::open(flags.model);
  if (!tokenizer) return failed(tokenizer.error());
  std::vector<int32_t> ids;
  if (flags.decode) {
    auto parsed = parse_ids(text, "--decode");
    if (!parsed) return flags.text ? bad_usage(parsed.error().message) : failed(parsed.error());
    ids = std::move(*parsed);
    for (const int32_t id : ids)
      if (id >= tokenizer->vocabulary_size())
        return failed(
            {ErrorCode::kInvalidArgument, fmt::format("token id {} is outside the vocabulary of {}",
                                                      id, tokenizer->vocabulary_size())});
  } else {
    auto encoded = tokenizer->encode(text, {.add_special = !flags.no_special});
    if (!encoded) return failed(encoded.error());
    ids = std::move(*encoded);
  }
  if (flags.json) {
    std::vector<std::string> pieces;
    for (const int32_t id : ids) pieces.emplace_back(tokenizer->bytes(id));
    nlohmann::json object = {{"ids", ids}, {"pieces", pieces}};
    if (flags.decode) object["text"] = tokenizer->decode(ids);
    return print_json(object);
  }
  if (flags.decode) {
    print(tokenizer->decode(ids));
    print("\n");
  } else {
    std::string lines;
    for (const int32_t id : ids)
      lines += fmt::format("{:>8}  '{}'\n", id, printable(tokenizer->bytes(id)));
    print(lines);
  }
  return finish_output();
}

}  // namespace

void add_tokenize(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand("tokenize", "Text to token ids and pieces, or back");
  const auto flags = std::make_shared<TokenizeFlags>();
  command->add_option("MODEL", flags->model, "model folder or tokenizer.json")
      ->required()
      ->type_name("PATH");
  command->add_option("TEXT", flags->text, "the text; without it, standard input, byte for byte")
      ->type_name("TEXT");
  command->add_flag("--decode", flags->decode, "TEXT is token ids; print what they say");
  command->add_flag("--no-special", flags->no_special,
                    "without the tokens that the tokenizer puts around a prompt");
  command->add_flag("--json", flags->json, "one JSON object");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
