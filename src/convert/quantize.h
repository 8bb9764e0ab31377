#pragma once
// A plain checkpoint to an HLWQ one, streaming.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/calibration.h"
#include "convert/name_plan.h"
#include "format/writer.h"
#include "quant/codebook.h"
#include "quant/encode.h"

namespace hlwq {

// Called now and then with bytes of input done and in all; false cancels the job.
using ConvertProgress = std::function<bool(uint64_t done, uint64_t total)>;

struct QuantizeOptions {
  int bits = 5;
  std::map<std::string, int, std::less<>> bits_of_kind;  // kinds (tensor_kind.h) with other widths
  Profile profile = Profile::kV5Packed;
  CodebookKind codebook = CodebookKind::kGrid;
  NormRule norms = NormRule::kSearch;
  std::vector<std::string> keep;  // shell patterns of names to leave as they are
  int threads = 0;                // 0: one a physical core that this process may use
  uint64_t shard_bytes = 5'000'000'000;
  bool force = false, resume = false, dry_run = false;
  Calibration* calibration = nullptr;  // null: codes come from the weights alone
  ConvertProgress progress;
};

struct QuantizeReport {
  uint64_t input_bytes = 0, output_bytes = 0;  // of weight files
  int64_t tensors = 0, quantized = 0, kept = 0;
  int64_t measured = 0;                    // coded tensors this run wrote, not a resumed one
  double cosine_min = 1, cosine_mean = 1;  // over coded tensors (of those this run wrote)
  std::string cosine_min_name;
  double snr_db = 0;                       // over all coded weights
  double bits_per_weight = 0;              // codes, norms and padding over the coded weights
  std::vector<UncoveredMatrix> uncovered;  // by the calibration, of what this run wrote
  double seconds = 0;
};

// Whether a tensor is coded or kept as it is.
[[nodiscard]] bool is_coded(const SourceTensor& tensor, const QuantizeOptions& options);

// Writes `out` (a folder). Memory is bounded by a few row ranges, whatever the tensor or model.
// Kept tensors keep their dtype. Deterministic: a resumed run gives the bytes of an unbroken one.
// Errors: kInvalidArgument (source already HLWQ, out is the source, out is in use), kMissing
// (tensors of the model), kBadValue (NaN, infinite norms; names tensor and row), kUnsupported, kIo,
// kCancelled. After an error nothing but complete shards is left in `out`, and no config.json, so
// that it does not load as a model.
[[nodiscard]] Result<QuantizeReport> quantize_checkpoint(const std::string& source,
                                                         const std::string& out,
                                                         const QuantizeOptions& options);

}  // namespace hlwq
