// hlwq chart: pictures of recorded results.

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "chart/write_charts.h"
#include "commands.h"

namespace hlwq::cli {
namespace {

struct ChartFlags {
  std::vector<std::string> results;
  std::string out;
  bool json = false;
};

Result<std::vector<std::string>> draw(const ChartFlags& flags) {
  HLWQ_TRY_ASSIGN(const chart::Results results, chart::read_results(flags.results));
  HLWQ_TRY_ASSIGN(const std::vector<chart::NamedPicture> pictures, chart::draw_charts(results));
  if (pictures.empty())
    return fail(ErrorCode::kInvalidArgument,
                "the results hold nothing to draw: wanted bench, plan, a trace, or ppl with "
                "--kl-against on codes");
  return chart::write_charts(pictures, flags.out);
}

int run(const ChartFlags& flags) {
  const auto names = draw(flags);
  if (!names) return failed(names.error());
  if (flags.json) return print_json({{"folder", flags.out}, {"files", *names}});
  for (const std::string& name : *names) print(flags.out + "/" + name + "\n");
  return finish_output();
}

}  // namespace

void add_chart(CLI::App& app, Commands& commands) {
  CLI::App* const command =
      app.add_subcommand("chart", "Pictures (SVG and PNG) of what bench, ppl and plan recorded");
  const auto flags = std::make_shared<ChartFlags>();
  command
      ->add_option("RESULTS", flags->results,
                   "outputs of bench, ppl and plan --json, arrays of them, routing traces, files "
                   "of experts' use")
      ->required()
      ->type_name("FILE...");
  command->add_option("-o,--out", flags->out, "folder to write")->required()->type_name("DIR");
  command->add_flag("--json", flags->json, "one JSON object: the files written");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
