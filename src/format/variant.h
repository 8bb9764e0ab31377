#pragma once
// Which published variant a set of coded layers is.

#include <span>

#include "format/checkpoint.h"
#include "format/coded_layer.h"
#include "format/polar_config.h"

namespace hlwq {

// Decided by the tensors' names, tables and packings; the config only tells F1 from F2 where both
// would look alike. kPlain for no layers.
[[nodiscard]] Variant decide_variant(std::span<const CodedLayer> layers, const PolarConfig& config);

}  // namespace hlwq
