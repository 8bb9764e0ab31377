// hlwq quantize: a plain checkpoint to HLWQ.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/units.h"
#include "commands.h"
#include "convert_report.h"

namespace hlwq::cli {
namespace {

struct QuantizeFlags {
  std::string source, out, profile = "v5-packed", device = "cpu", shard_bytes = "5GB";
  std::optional<std::string> codebook;
  std::string norms = "search";
  bool json = false;
  QuantizeOptions options;
};

int run(QuantizeFlags& flags) {
  const std::map<std::string, CodebookKind> codebooks = {{"grid", CodebookKind::kGrid},
                                                         {"optimal", CodebookKind::kOptimal},
                                                         {"published", CodebookKind::kWire}};
  const std::map<std::string, NormRule> norms = {{"search", NormRule::kSearch},
                                                 {"least-squares", NormRule::kLeastSquares},
                                                 {"plain", NormRule::kPlain}};
  QuantizeOptions& options = flags.options;
  options.profile = parse_profile(flags.profile).value();  // CLI11 checked the choices
  options.norms = norms.at(flags.norms);
  if (options.profile == Profile::kHlwqQ5) {
    if (flags.codebook && *flags.codebook != "published")
      return bad_usage(
          fmt::format("--codebook {}: profile hlwq-q5 carries no table and implies published",
                      *flags.codebook));
    if (options.bits != 5)
      return bad_usage(fmt::format("--bits {}: profile hlwq-q5 has 5 bits", options.bits));
    options.codebook = CodebookKind::kWire;
  } else {
    options.codebook = codebooks.at(flags.codebook.value_or("grid"));
  }
  const auto shard_bytes = parse_bytes(flags.shard_bytes);
  if (!shard_bytes) return bad_usage("--shard-bytes: " + shard_bytes.error().message);
  options.shard_bytes = static_cast<uint64_t>(*shard_bytes);
  if (options.force && options.resume)
    return bad_usage("--force and --resume: one replaces what is there, the other keeps it");
  if (flags.device == "cuda")
    return failed({ErrorCode::kUnsupported, "--device cuda: built without CUDA"});

  Progress progress("quantizing", /*is_bytes=*/true);
  options.progress = show_progress(progress);
  const auto report = quantize_checkpoint(flags.source, flags.out, options);
  if (!report) return failed(report.error());
  if (flags.json) return print_json(to_json(*report));
  print(to_text(*report));
  return finish_output();
}

}  // namespace

void add_quantize(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "quantize", "BF16, F16 or F32 checkpoint to an HLWQ checkpoint, streaming");
  const auto flags = std::make_shared<QuantizeFlags>();
  QuantizeOptions& options = flags->options;
  command->add_option("SRC", flags->source, "folder of the checkpoint")
      ->required()
      ->type_name("DIR");
  command->add_option("-o,--out", flags->out, "folder to write")->required()->type_name("DIR");
  command->add_option("--bits", options.bits, "bits of a code")
      ->check(CLI::Range(kMinBits, kMaxBits))
      ->capture_default_str();
  command->add_option("--profile", flags->profile, "file layout; see docs/format.md")
      ->check(CLI::IsMember({"v5-packed", "v5-int8", "hlwq-q5"}))
      ->capture_default_str();
  command
      ->add_option("--codebook", flags->codebook,
                   "grid: the best table on the int8 grid (default); optimal: Lloyd-Max; published")
      ->check(CLI::IsMember({"grid", "optimal", "published"}));
  command->add_option("--norms", flags->norms, "how a block's norm is chosen")
      ->check(CLI::IsMember({"search", "least-squares", "plain"}))
      ->capture_default_str();
  command
      ->add_option(
          "--keep", options.keep,
          "leave tensors as they are: a shell pattern such as '*lm_head*'; may be given again")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  command
      ->add_option("--threads", options.threads,
                   "CPU threads; 0: one a physical core that this process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_option("--device", flags->device, "where to encode")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--shard-bytes", flags->shard_bytes, "most bytes of a file")
      ->type_name("BYTES")
      ->capture_default_str();
  command->add_flag("--resume", options.resume, "keep the finished files of an interrupted run");
  command->add_flag("--force", options.force, "replace a checkpoint in the output folder");
  command->add_flag("--dry-run", options.dry_run, "say what would be written");
  command->add_flag("--json", flags->json, "one JSON object");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
