// hlwq dequantize: any HLWQ variant to a plain checkpoint.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/process_memory.h"
#include "base/units.h"
#include "commands.h"
#include "convert/dequantize.h"
#include "convert_report.h"

namespace hlwq::cli {
namespace {

struct DequantizeFlags {
  std::string source, out, dtype = "bf16", shard_bytes = "5GB";
  bool json = false;
  DequantizeOptions options;
};

int run(DequantizeFlags& flags) {
  flags.options.dtype = flags.dtype == "bf16"  ? DType::kBF16
                        : flags.dtype == "f16" ? DType::kF16
                                               : DType::kF32;
  const auto shard_bytes = parse_bytes(flags.shard_bytes);
  if (!shard_bytes) return bad_usage("--shard-bytes: " + shard_bytes.error().message);
  flags.options.shard_bytes = static_cast<uint64_t>(*shard_bytes);
  Progress progress("dequantizing", /*is_bytes=*/true);
  flags.options.progress = show_progress(progress);
  const auto report = dequantize_checkpoint(flags.source, flags.out, flags.options);
  if (!report) return failed(report.error());
  if (flags.json)
    return print_json({{"input_bytes", report->input_bytes},
                       {"output_bytes", report->output_bytes},
                       {"tensors", report->tensors},
                       {"missing", report->from_base},
                       {"seconds", report->seconds},
                       {"peak_rss_bytes", peak_rss_bytes()}});
  print(fmt::format(
      "{} -> {}: {} tensors, {:.1f} s\n", format_bytes(static_cast<int64_t>(report->input_bytes)),
      format_bytes(static_cast<int64_t>(report->output_bytes)), report->tensors, report->seconds));
  for (const std::string& name : report->from_base) print(fmt::format("from the base: {}\n", name));
  return finish_output();
}

}  // namespace

void add_dequantize(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "dequantize", "HLWQ checkpoint to a plain one that transformers and vLLM load");
  const auto flags = std::make_shared<DequantizeFlags>();
  command->add_option("SRC", flags->source, "folder of the HLWQ checkpoint")
      ->required()
      ->type_name("DIR");
  command->add_option("-o,--out", flags->out, "folder to write")->required()->type_name("DIR");
  command->add_option("--dtype", flags->dtype, "of the decoded tensors")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str();
  command
      ->add_option("--base", flags->options.base,
                   "folder of the original model, for tensors the checkpoint lacks")
      ->type_name("DIR");
  command->add_option("--shard-bytes", flags->shard_bytes, "most bytes of a file")
      ->type_name("BYTES")
      ->capture_default_str();
  command
      ->add_option("--threads", flags->options.threads,
                   "CPU threads; 0: one a physical core that this process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_flag("--force", flags->options.force, "replace a checkpoint in the output folder");
  command->add_flag("--json", flags->json, "one JSON object; `missing`: what the base supplied");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
