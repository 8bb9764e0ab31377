#pragma once
// Any HLWQ variant to a plain Hugging Face checkpoint.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/quantize.h"
#include "tensor/dtype.h"

namespace hlwq {

struct DequantizeOptions {
  DType dtype = DType::kBF16;  // of coded tensors and stored 16-bit ones; F32 tensors stay F32
  std::string base;            // folder that supplies tensors the source lacks
  uint64_t shard_bytes = 5'000'000'000;
  int threads = 0;
  bool force = false;
  ConvertProgress progress;
};

struct DequantizeReport {
  uint64_t input_bytes = 0, output_bytes = 0;
  int64_t tensors = 0;
  std::vector<std::string> from_base;  // tensors the source lacked and the base supplied
  double seconds = 0;
};

// Writes `out` with canonical names, shards with an index, and config.json without its
// quantization_config. Integer tensors are copied. Errors: kMissing naming every absent tensor
// unless `base` has it; kBadValue (codes, norms, a value beyond F16's range); kIo; kCancelled.
[[nodiscard]] Result<DequantizeReport> dequantize_checkpoint(const std::string& source,
                                                             const std::string& out,
                                                             const DequantizeOptions& options);

}  // namespace hlwq
