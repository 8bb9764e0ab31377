#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <new>
#include <string>

#include "commands.h"
#include "hlwq/engine.h"
#include "hlwq/result.h"

namespace {

using hlwq::cli::Commands;

int run(int argc, char** argv) {
  CLI::App app("Quantizes Nemotron-H and Llama checkpoints to HLWQ and runs them on the codes.",
               "hlwq");
  app.set_version_flag("--version", "hlwq " + std::string(hlwq::version()));
  app.require_subcommand(1);
  app.get_formatter()->column_width(36);
  Commands commands;
  hlwq::cli::add_demo(app, commands);
  hlwq::cli::add_quantize(app, commands);
  hlwq::cli::add_dequantize(app, commands);
  hlwq::cli::add_inspect(app, commands);
  hlwq::cli::add_compare(app, commands);
  hlwq::cli::add_run(app, commands);
  hlwq::cli::add_chat(app, commands);
  hlwq::cli::add_serve(app, commands);
  hlwq::cli::add_logits(app, commands);
  hlwq::cli::add_tokenize(app, commands);
  hlwq::cli::add_ppl(app, commands);
  hlwq::cli::add_plan(app, commands);
  hlwq::cli::add_bench(app, commands);
  hlwq::cli::add_chart(app, commands);
  hlwq::cli::add_card(app, commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for) {  // --help, --version
    app.exit(asked_for);
    return hlwq::cli::finish_output();
  } catch (const CLI::ParseError& error) {
    return hlwq::cli::bad_usage(std::string(error.what()) + " (--help shows the usage)");
  }
  hlwq::cli::install_log_sink();
  return commands.run();
}

}  // namespace

// Commands call the layers below the engine too, so the program has the outermost barrier.
int main(int argc, char** argv) {
  using hlwq::ErrorCode;
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    return hlwq::cli::failed({ErrorCode::kOutOfMemory, "the system refused host memory"});
  } catch (const std::exception& e) {
    return hlwq::cli::failed({ErrorCode::kInternal, std::string("internal error: ") + e.what()});
  }
}
