// hlwq quantize: a plain checkpoint to HLWQ.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "api/calibration.h"
#include "base/units.h"
#include "commands.h"
#include "convert_report.h"
#include "interrupt.h"

namespace hlwq::cli {
namespace {

struct QuantizeFlags {
  std::string source, out, profile = {}, device = "cpu", shard_bytes = "5GB";
  std::optional<std::string> codebook;
  std::string norms = "search", calibrate;
  int64_t calibrate_tokens = 131072;
  double target_bpw = 0;
  bool json = false;
  QuantizeOptions options;
};

// Opens what --calibrate names and, for a target, chooses the widths.
Status calibrate(QuantizeFlags& flags, Progress& progress, OpenCalibration& calibration,
                 std::optional<MeasuredAllocation>& allocation) {
  QuantizeOptions& options = flags.options;
  HLWQ_TRY_ASSIGN(calibration, open_calibration({.model = flags.source,
                                                 .text = flags.calibrate,
                                                 .tokens = flags.calibrate_tokens,
                                                 .device = flags.device,
                                                 .threads = options.threads}));
  calibration.model->cancel = catch_interrupts();
  calibration.model->progress = [&progress](int64_t done, int64_t total) {
    progress.update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
  };
  options.calibration = calibration.calibration.get();
  if (flags.target_bpw == 0) return {};
  HLWQ_TRY_ASSIGN(allocation,
                  allocate_bits(*calibration.model, flags.source, options, flags.target_bpw));
  options.bits_of_kind = allocation->chosen.bits_of_kind;
  return {};
}

nlohmann::json allocation_json(const MeasuredAllocation& allocation) {
  nlohmann::json kinds = nlohmann::json::array();
  for (const KindSensitivity& kind : allocation.kinds)
    kinds.push_back({{"kind", kind.kind},
                     {"matrices", kind.matrices},
                     {"weights", kind.weights},
                     {"bits", allocation.chosen.bits_of_kind.at(kind.kind)},
                     {"probe_kl", kind.probe_kl}});
  return {{"bits_per_weight", allocation.chosen.bits_per_weight},
          {"expected_kl", allocation.chosen.expected_kl},
          {"kinds", kinds}};
}

std::string allocation_text(const MeasuredAllocation& allocation) {
  std::string text =
      fmt::format("{:<44} {:>12} {:>12} {:>5}\n", "", "weights", "KL at 4 bits", "bits");
  for (const KindSensitivity& kind : allocation.kinds)
    text += fmt::format("{:<44} {:>12} {:>12.6f} {:>5}\n", kind.kind, kind.weights, kind.probe_kl,
                        allocation.chosen.bits_of_kind.at(kind.kind));
  return text +
         fmt::format("{:.3f} bits a weight; plain rounding would have a KL of about {:.4f}\n",
                     allocation.chosen.bits_per_weight, allocation.chosen.expected_kl);
}

int run(QuantizeFlags& flags) {
  const std::map<std::string, CodebookKind> codebooks = {{"grid", CodebookKind::kGrid},
                                                         {"optimal", CodebookKind::kOptimal},
                                                         {"published", CodebookKind::kWire}};
  const std::map<std::string, NormRule> norms = {{"search", NormRule::kSearch},
                                                 {"least-squares", NormRule::kLeastSquares},
                                                 {"plain", NormRule::kPlain}};
  QuantizeOptions& options = flags.options;
  if (flags.profile.empty()) flags.profile = flags.target_bpw > 0 ? "packed" : "v5-packed";
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
  if (flags.device == "cuda" && flags.calibrate.empty())
    return bad_usage(
        "--device cuda: without --calibrate the codes are made on the CPU, as fast as disks are");

  if (flags.target_bpw > 0 && flags.calibrate.empty())
    return bad_usage("--target-bpw: wanted --calibrate FILE, the text to measure on");
  if (flags.target_bpw > 0 && options.profile == Profile::kHlwqQ5)
    return bad_usage("--target-bpw: profile hlwq-q5 has 5 bits everywhere");
  OpenCalibration calibration;
  std::optional<MeasuredAllocation> allocation;
  Progress learning("calibrating");
  if (!flags.calibrate.empty()) {
    if (const Status opened = calibrate(flags, learning, calibration, allocation); !opened)
      return failed(opened.error());
  }
  Progress progress("quantizing", /*is_bytes=*/true);
  options.progress = show_progress(progress);
  const auto report = quantize_checkpoint(flags.source, flags.out, options);
  if (!report) return failed(report.error());
  if (flags.json) {
    nlohmann::json json = to_json(*report);
    if (allocation) json["allocation"] = allocation_json(*allocation);
    return print_json(json);
  }
  if (allocation) print(allocation_text(*allocation));
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
  command
      ->add_option("--profile", flags->profile,
                   "file layout, see docs/format.md; without it v5-packed, or packed for a target")
      ->check(CLI::IsMember({"v5-packed", "v5-int8", "hlwq-q5", "packed"}));
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
  command
      ->add_option("--calibrate", flags->calibrate,
                   "text file: codes are chosen for the inputs that the model has on it")
      ->type_name("FILE");
  command->add_option("--calibrate-tokens", flags->calibrate_tokens, "how much of the text is used")
      ->type_name("N")
      ->check(CLI::Range(int64_t{512}, int64_t{1} << 30))
      ->capture_default_str();
  command
      ->add_option("--target-bpw", flags->target_bpw,
                   "with --calibrate: 3 to 8 bits for each kind of matrices, by how much the "
                   "predictions suffer, within so many bits a weight; 0: --bits everywhere")
      ->type_name("X")
      ->check(CLI::Range(0.0, 16.0))
      ->capture_default_str();
  command->add_option("--device", flags->device, "where the model of --calibrate runs")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
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
