// hlwq inspect: what a checkpoint is.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "commands.h"
#include "convert/inspect.h"
#include "convert_report.h"
#include "or_null.h"

namespace hlwq::cli {
namespace {

struct InspectFlags {
  std::string path;
  bool tensors = false, json = false;
  InspectOptions options;
};

nlohmann::json to_json(const InspectReport& report) {
  nlohmann::json tensors = nlohmann::json::array(), codebooks = nlohmann::json::array();
  for (const InspectedTensor& tensor : report.tensors)
    tensors.push_back({{"name", tensor.name},
                       {"shape", tensor.shape},
                       {"kind", tensor.kind},
                       {"bits", tensor.bits == 0 ? nlohmann::json() : nlohmann::json(tensor.bits)},
                       {"bytes", tensor.bytes}});
  for (const InspectedCodebook& book : report.codebooks)
    codebooks.push_back({{"bits", book.bits},
                         {"origin", book.origin},
                         {"snap_db", book.snap_db},
                         {"wide", book.wide},
                         {"tensors", book.tensors}});
  return {{"format", report.format},
          {"variant", report.variant},
          {"architecture", report.architecture},
          {"parameters", report.parameters},
          {"bytes", report.bytes},
          {"bits_per_weight", report.bits_per_weight},
          {"coded_bits_per_weight", or_null(report.coded_bits_per_weight)},
          {"quantization", report.quantization},
          {"base_model", report.base_model},
          {"codebooks", codebooks},
          {"tensors", tensors},
          {"missing", report.missing},
          {"unknown", report.unknown},
          {"problems", report.problems}};
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("{}", fmt::join(shape, " x "));
}

void print_report(const InspectReport& report, const InspectFlags& flags) {
  print(fmt::format("{}: {}, {}\n{} parameters, {}, {:.3f} bits a weight\n", flags.path,
                    report.variant, report.architecture, report.parameters,
                    format_bytes(static_cast<int64_t>(report.bytes)), report.bits_per_weight));
  for (const InspectedCodebook& book : report.codebooks)
    print(fmt::format(
        "codebook: {} bits, {}, {} tensors; running it {}\n", book.bits, book.origin, book.tensors,
        book.wide             ? "needs 16-bit levels (slower)"
        : book.snap_db < 1e-9 ? "is exact on the int8 grid"
                              : fmt::format("on the int8 grid costs {:.3f} dB", book.snap_db)));
  if (flags.tensors)
    for (const InspectedTensor& tensor : report.tensors)
      print(fmt::format("  {:<60} {:>18}  {:<14} {:>12}\n", tensor.name, shape_text(tensor.shape),
                        tensor.kind, tensor.bytes));
  for (const std::string& name : report.missing) print(fmt::format("missing: {}\n", name));
  for (const std::string& name : report.unknown) print(fmt::format("unknown: {}\n", name));
  for (const std::string& line : report.problems) print(fmt::format("problem: {}\n", line));
  if (flags.options.verify && report.problems.empty()) print("verified: every value decodes\n");
}

int run(InspectFlags& flags) {
  Progress progress("verifying", /*is_bytes=*/true);
  flags.options.progress = show_progress(progress);
  const auto report = inspect_checkpoint(flags.path, flags.options);
  if (!report) return failed(report.error());
  int code = kDone;
  if (flags.json) {
    code = print_json(to_json(*report));
  } else {
    print_report(*report, flags);
    code = finish_output();
  }
  if (!report->problems.empty())
    return failed(
        {ErrorCode::kBadValue, fmt::format("{}: {} tensors are damaged, first: {}", flags.path,
                                           report->problems.size(), report->problems[0])});
  return code;
}

}  // namespace

void add_inspect(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "inspect", "What a checkpoint is: variant, widths, sizes, what is missing");
  const auto flags = std::make_shared<InspectFlags>();
  command->add_option("PATH", flags->path, "folder or .safetensors file")
      ->required()
      ->type_name("PATH");
  command->add_flag("--tensors", flags->tensors, "list every tensor");
  command->add_flag("--verify", flags->options.verify,
                    "decode everything: codes, norms, finite values; exit 1 on damage");
  command
      ->add_option("--threads", flags->options.threads,
                   "CPU threads; 0: one a physical core that this process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "one JSON object");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
