#pragma once
// Rows of weights to codes and norms with the inputs' moments in mind.

#include <cstdint>
#include <span>

#include "base/result.h"
#include "calibrate/feedback.h"
#include "quant/encode.h"

namespace hlwq {

// As encode_rows with NormRule::kSearch, but for the least error of the product with inputs of the
// feedback's moments. Codes of a row do not depend on the other rows. Errors: as encode_rows.
[[nodiscard]] Result<Distortion> encode_rows_calibrated(std::span<const float> weights,
                                                        const Feedback& feedback,
                                                        std::span<const float> levels,
                                                        std::span<uint8_t> codes,
                                                        std::span<uint16_t> norms);

}  // namespace hlwq
