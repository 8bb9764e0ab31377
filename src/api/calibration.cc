#include "api/calibration.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "api/choose_backend.h"
#include "base/available_memory.h"
#include "io/file.h"
#include "text/tokenizer.h"

namespace hlwq {
namespace {

constexpr uint64_t kMostTextBytes = uint64_t{1} << 30;
constexpr size_t kLeastMemory = size_t{256} << 20, kMostMemory = size_t{16} << 30;

// A quarter of what is free beside the model: factoring needs as much again for a time.
size_t memory_for_moments() {
  const auto available = static_cast<size_t>(std::max<int64_t>(available_memory_bytes(), 0));
  return std::clamp(available / 4, kLeastMemory, kMostMemory);
}

}  // namespace

Result<OpenCalibration> open_calibration(const CalibrationRequest& request) {
  HLWQ_TRY_ASSIGN(const std::string text, read_text_file(request.text, kMostTextBytes));
  HLWQ_TRY_ASSIGN(const Tokenizer tokenizer, Tokenizer::open(request.model));
  HLWQ_TRY_ASSIGN(std::vector<int32_t> ids, tokenizer.encode(text, {.add_special = false}));
  ids.resize(std::min(ids.size(), static_cast<size_t>(request.tokens)));

  EngineOptions options;
  options.device = request.device;
  options.threads = request.threads;
  options.compute = "exact";
  OpenCalibration open;
  HLWQ_TRY_ASSIGN(open.backend, choose_backend(options));
  HLWQ_TRY_ASSIGN(
      open.model,
      TextModel::create(request.model, *open.backend,
                        {.ids = std::move(ids),
                         .name = std::filesystem::path(request.text).filename().string()}));
  open.calibration = std::make_unique<TextCalibration>(
      *open.model, TextCalibrationOptions{.memory_bytes = memory_for_moments()});
  return open;
}

Result<MeasuredAllocation> allocate_bits(TextModel& model, const std::string& source,
                                         const QuantizeOptions& options, double target) {
  HLWQ_TRY_ASSIGN(Source opened, open_source(source));
  std::erase_if(opened.tensors, [&](const SourceTensor& t) { return !is_coded(t, options); });
  const SensitivityOptions probe = {.codebook = options.codebook, .norms = options.norms};
  MeasuredAllocation measured;
  HLWQ_TRY_ASSIGN(measured.kinds, measure_sensitivity(model, opened.tensors, probe));
  HLWQ_TRY_ASSIGN(measured.chosen, allocate_bits(measured.kinds, probe.probe_bits, target));
  return measured;
}

}  // namespace hlwq
