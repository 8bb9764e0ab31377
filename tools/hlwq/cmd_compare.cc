// hlwq compare: two checkpoints of one model, tensor by tensor.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "convert/compare.h"
#include "convert_report.h"

namespace hlwq::cli {
namespace {

struct CompareFlags {
  std::string a, b;
  int threads = 0;
  bool json = false;
};

int run(const CompareFlags& flags) {
  Progress progress("comparing", /*is_bytes=*/true);
  const auto report = compare_checkpoints(flags.a, flags.b, flags.threads, show_progress(progress));
  if (!report) return failed(report.error());
  if (flags.json) {
    nlohmann::json tensors = nlohmann::json::array(), kinds = nlohmann::json::array();
    for (const ComparedTensor& tensor : report->tensors)
      tensors.push_back(
          {{"name", tensor.name}, {"cosine", tensor.cosine}, {"snr_db", tensor.snr_db}});
    for (const ComparedKind& kind : report->kinds)
      kinds.push_back({{"name", kind.name},
                       {"tensors", kind.tensors},
                       {"cosine_min", kind.cosine_min},
                       {"cosine_mean", kind.cosine_mean},
                       {"snr_db", kind.snr_db}});
    return print_json({{"tensors", tensors},
                       {"kinds", kinds},
                       {"cosine_min", report->cosine_min},
                       {"cosine_min_tensor", report->cosine_min_name},
                       {"cosine_mean", report->cosine_mean},
                       {"snr_db", report->snr_db}});
  }
  // The tensors that changed, the most different first; equal ones are only counted.
  std::vector<ComparedTensor> changed;
  for (const ComparedTensor& tensor : report->tensors)
    if (!std::isinf(tensor.snr_db)) changed.push_back(tensor);
  std::sort(changed.begin(), changed.end(),
            [](const ComparedTensor& x, const ComparedTensor& y) { return x.snr_db < y.snr_db; });
  for (const ComparedTensor& tensor : changed)
    print(fmt::format("{:.6f}  {:7.2f} dB  {}\n", tensor.cosine, tensor.snr_db, tensor.name));
  if (!changed.empty()) print("\nof a kind, mean and least cosine:\n");
  for (const ComparedKind& kind : report->kinds)
    if (!std::isinf(kind.snr_db))
      print(fmt::format("{:.6f}  {:.6f}  {:7.2f} dB  {} ({})\n", kind.cosine_mean, kind.cosine_min,
                        kind.snr_db, kind.name, kind.tensors));
  print(fmt::format(
      "{} tensors, {} equal; cosine: mean {:.6f}, least {:.6f}; signal to noise {:.2f} dB\n",
      report->tensors.size(), report->tensors.size() - changed.size(), report->cosine_mean,
      report->cosine_min, report->snr_db));
  return finish_output();
}

}  // namespace

void add_compare(CLI::App& app, Commands& commands) {
  CLI::App* const command = app.add_subcommand(
      "compare", "Cosine and signal to noise between two checkpoints of one model");
  const auto flags = std::make_shared<CompareFlags>();
  command->add_option("A", flags->a, "the reference")->required()->type_name("DIR");
  command->add_option("B", flags->b, "the other")->required()->type_name("DIR");
  command
      ->add_option("--threads", flags->threads,
                   "CPU threads; 0: one a physical core that this process may use")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "one JSON object");
  commands.add(command, [flags] { return run(*flags); });
}

}  // namespace hlwq::cli
