#pragma once
// Calibration with all it needs: the text's ids and the model on a back end.

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "calibrate/allocate_bits.h"
#include "calibrate/text_calibration.h"
#include "convert/quantize.h"
#include "ops/backend.h"

namespace hlwq {

struct CalibrationRequest {
  std::string model;        // folder of the plain checkpoint
  std::string text;         // file
  int64_t tokens = 131072;  // of it, from the beginning; whole windows
  std::string device = "auto";
  int threads = 0;  // 0: one a physical core
};

// The members refer to those before them.
struct OpenCalibration {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<TextModel> model;
  std::unique_ptr<TextCalibration> calibration;
};

// Errors: kMissing (no tokenizer), kInvalidArgument (a text too short), and as load_model.
[[nodiscard]] Result<OpenCalibration> open_calibration(const CalibrationRequest& request);

// The widths of the kinds that quantize_checkpoint would code, and what they follow from.
struct MeasuredAllocation {
  std::vector<KindSensitivity> kinds;
  BitAllocation chosen;
};

// Errors: as measure_sensitivity and allocate_bits.
[[nodiscard]] Result<MeasuredAllocation> allocate_bits(TextModel& model, const std::string& source,
                                                       const QuantizeOptions& options,
                                                       double target);

}  // namespace hlwq
