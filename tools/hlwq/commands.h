#pragma once
// The subcommands, in the order the help shows them.

#include "command.h"

namespace hlwq::cli {

void add_demo(CLI::App& app, Commands& commands);
void add_quantize(CLI::App& app, Commands& commands);
void add_dequantize(CLI::App& app, Commands& commands);
void add_inspect(CLI::App& app, Commands& commands);
void add_compare(CLI::App& app, Commands& commands);
void add_run(CLI::App& app, Commands& commands);
void add_chat(CLI::App& app, Commands& commands);
void add_serve(CLI::App& app, Commands& commands);
void add_logits(CLI::App& app, Commands& commands);
void add_tokenize(CLI::App& app, Commands& commands);
void add_ppl(CLI::App& app, Commands& commands);
void add_plan(CLI::App& app, Commands& commands);
void add_bench(CLI::App& app, Commands& commands);
void add_chart(CLI::App& app, Commands& commands);
void add_card(CLI::App& app, Commands& commands);

}  // namespace hlwq::cli
