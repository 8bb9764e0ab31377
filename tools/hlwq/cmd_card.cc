// hlwq card: a model card for a checkpoint, from what it is and what was measured.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "card/model_card.h"
#include "chart/write_charts.h"
#include "commands.h"
#include "io/file.h"

namespace hlwq::cli {
namespace {

struct CardFlags {
  std::string folder, base;
  std::vector<std::string> results;
  bool force = false, json = false;
};

std::string folder_name(const std::string& folder) {
  std::error_code error;  // "." has a name too
  const auto whole = std::filesystem::canonical(folder, error);
  return error ? folder : whole.filename().string();
}

// The files written, relative to the folder.
Result<std::vector<std::string>> write(const CardFlags& flags) {
  const std::string path = flags.folder + "/README.md";
  std::error_code error;
  if (!flags.force && std::filesystem::exists(std::filesystem::symlink_status(path, error)))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: it exists; --force replaces it", path));
  card::CardData data{.name = folder_name(flags.folder),
                      .checkpoint = {},
                      .license = {},
                      .results = {},
                      .charts = {}};
  HLWQ_TRY_ASSIGN(data.checkpoint, inspect_checkpoint(flags.folder, InspectOptions()));
  if (!flags.base.empty()) {
    HLWQ_TRY_ASSIGN(data.license, card::read_license(flags.base));
  }
  HLWQ_TRY_ASSIGN(data.results, chart::read_results(flags.results));
  HLWQ_TRY_ASSIGN(const std::vector<chart::NamedPicture> pictures,
                  chart::draw_charts(data.results));
  std::vector<std::string> files;
  if (!pictures.empty()) {
    HLWQ_TRY_ASSIGN(const std::vector<std::string> names,
                    chart::write_charts(pictures, flags.folder + "/charts"));
    for (const std::string& name : names) files.push_back("charts/" + name);
    for (const chart::NamedPicture& picture : pictures) data.charts.push_back(picture.name);
  }
  HLWQ_TRY(write_file(path, card::make_card(data)));
  files.insert(files.begin(), "README.md");
  return files;
}

int run(const CardFlags& flags) {
  const auto files = write(flags);
  if (!files) return failed(files.error());
  if (flags.json) return print_json({{"folder", flags.folder}, {"files", *files}});
  for (const std::string& name : *files) print(flags.folder + "/" + name + "\n");
  return finish_output();
}

}  // namespace

void add_card(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "card", "A model card (README.md) for a checkpoint, with measured figures and charts");
  const auto flags = std::make_shared<CardFlags>();
  command->add_option("OUT", flags->folder, "folder of the checkpoint; the card goes there")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--results", flags->results,
                   "outputs of ppl, bench and plan --json; without them the card says that "
                   "nothing was measured")
      ->type_name("FILE...");
  command
      ->add_option("--base", flags->base,
                   "folder of the original model: its card names the license")
      ->type_name("DIR");
  command->add_flag("--force", flags->force, "replace a README.md that is there");
  command->add_flag("--json", flags->json, "one JSON object: the files written");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
