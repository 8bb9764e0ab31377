#pragma once
// What a checkpoint is.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/quantize.h"
#include "format/checkpoint.h"

namespace hlwq {

struct InspectedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::string kind;    // "BF16", or "5-bit lsb" for codes
  int bits = 0;        // of codes; 0 = plain
  uint64_t bytes = 0;  // stored
};

// A table in use and what running it on the int8 grid costs.
struct InspectedCodebook {
  int bits = 0;
  std::string origin;  // "published", "grid", "optimal", "in the file"
  double snap_db = 0;
  bool wide = false;
  int64_t tensors = 0;
};

struct InspectReport {
  std::string format, variant, architecture;
  int64_t parameters = 0;      // elements of all tensors
  uint64_t bytes = 0;          // of all weight files
  double bits_per_weight = 0;  // stored, over all parameters
  // Of the coded matrices: (codes of all blocks * their width + 16 bits a norm) / parameters.
  // Padding of a row's last block counts, padding of a code to a byte does not. Nothing when none
  // is coded.
  std::optional<double> coded_bits_per_weight;
  std::string quantization, base_model;  // as polar_config.json says; may be empty
  std::vector<InspectedTensor> tensors;
  std::vector<InspectedCodebook> codebooks;
  std::vector<std::string> missing;   // of the architecture's tensors
  std::vector<std::string> unknown;   // tensors the architecture does not have
  std::vector<std::string> problems;  // found by verify
};

struct InspectOptions {
  bool verify = false;  // decode everything: codes, norms, finite values
  int threads = 0;
  ConvertProgress progress;
};

// Errors: those of opening. What verify finds goes into `problems`, one line a tensor.
[[nodiscard]] Result<InspectReport> inspect_checkpoint(const std::string& path,
                                                       const InspectOptions& options);

}  // namespace hlwq
