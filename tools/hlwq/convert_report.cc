#include "convert_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/process_memory.h"
#include "base/units.h"
#include "interrupt.h"

namespace hlwq::cli {

ConvertProgress show_progress(Progress& progress) {
  return [&progress, interrupted = catch_interrupts()](uint64_t done, uint64_t total) {
    progress.update(done, total);
    return !interrupted->load();
  };
}

nlohmann::json to_json(const QuantizeReport& report) {
  const bool measured = report.seconds > 0 && report.measured > 0;
  const auto or_null = [&](double value) {
    return measured ? nlohmann::json(value) : nlohmann::json();
  };
  nlohmann::json uncovered = nlohmann::json::array();
  for (const UncoveredMatrix& matrix : report.uncovered)
    uncovered.push_back({{"tensor", matrix.name}, {"tokens", matrix.tokens}});
  return {
      {"input_bytes", report.input_bytes},
      {"output_bytes", report.output_bytes},
      {"ratio", static_cast<double>(report.input_bytes) / static_cast<double>(report.output_bytes)},
      {"bits_per_weight", report.bits_per_weight},
      {"uncovered", uncovered},
      {"tensors", report.tensors},
      {"quantized", report.quantized},
      {"kept", report.kept},
      {"cosine_min", or_null(report.cosine_min)},
      {"cosine_min_tensor", report.cosine_min_name},
      {"cosine_mean", or_null(report.cosine_mean)},
      {"snr_db", or_null(report.snr_db)},
      {"seconds", report.seconds},
      {"peak_rss_bytes", peak_rss_bytes()}};
}

std::string to_text(const QuantizeReport& report) {
  std::string text = fmt::format(
      "{} -> {} ({:.2f} times smaller): {} tensors, {} coded, {} kept\n",
      format_bytes(static_cast<int64_t>(report.input_bytes)),
      format_bytes(static_cast<int64_t>(report.output_bytes)),
      static_cast<double>(report.input_bytes) / static_cast<double>(report.output_bytes),
      report.tensors, report.quantized, report.kept);
  if (report.measured > 0)
    text +=
        fmt::format("cosine: mean {:.6f}, least {:.6f} ({}); signal to noise {:.2f} dB\n",
                    report.cosine_mean, report.cosine_min, report.cosine_min_name, report.snr_db);
  if (!report.uncovered.empty()) {
    constexpr size_t kShown = 8;
    text += fmt::format("{} matrices saw too little of the text and were rounded plainly:",
                        report.uncovered.size());
    for (size_t i = 0; i < std::min(report.uncovered.size(), kShown); ++i)
      text +=
          fmt::format("\n  {} ({} tokens)", report.uncovered[i].name, report.uncovered[i].tokens);
    text += report.uncovered.size() > kShown ? "\n  and others; --json names all\n" : "\n";
  }
  return text + fmt::format("{:.1f} s, {} MB/s in, at most {} of memory\n", report.seconds,
                            static_cast<int64_t>(static_cast<double>(report.input_bytes) / 1e6 /
                                                 std::max(report.seconds, 1e-3)),
                            format_bytes(peak_rss_bytes()));
}

}  // namespace hlwq::cli
