#include "checkpoint_facts.h"

#include <nlohmann/json.hpp>

#include "convert/inspect.h"
#include "or_null.h"

namespace hlwq::cli {

std::string label_of(const std::string& quantization) {
  const size_t colon = quantization.find(": ");
  if (!quantization.starts_with("HLWQ Q") || colon == std::string::npos) return quantization;
  return quantization.substr(colon + 2);
}

Result<CheckpointFacts> read_checkpoint_facts(const std::string& model) {
  HLWQ_TRY_ASSIGN(const InspectReport report, inspect_checkpoint(model, InspectOptions()));
  return CheckpointFacts{.parameters = report.parameters,
                         .file_bytes = static_cast<int64_t>(report.bytes),
                         .bits_per_weight = report.coded_bits_per_weight,
                         .quantization = report.quantization,
                         .label = label_of(report.quantization)};
}

nlohmann::json to_json(const CheckpointFacts& facts) {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::json() : nlohmann::json(text);
  };
  return {{"parameters", facts.parameters},
          {"file_bytes", or_null(facts.file_bytes)},
          {"bits_per_weight", or_null(facts.bits_per_weight)},
          {"quantization", text_or_null(facts.quantization)},
          {"label", text_or_null(facts.label)}};
}

}  // namespace hlwq::cli
