#pragma once
// Two checkpoints of one model, tensor by tensor.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "convert/quantize.h"

namespace hlwq {

struct ComparedTensor {
  std::string name;
  double cosine = 1;
  double snr_db = 0;  // +infinity when the tensors are equal
};

// Tensors with one name but for the numbers in it: "mixer.experts.up_proj.weight" of all layers.
struct ComparedKind {
  std::string name;
  int64_t tensors = 0;
  double cosine_min = 1, cosine_mean = 1;
  double snr_db = 0;  // over all their elements; +infinity when they are equal
};

struct CompareReport {
  std::vector<ComparedTensor> tensors;
  std::vector<ComparedKind> kinds;  // by name
  double cosine_min = 1, cosine_mean = 1;
  std::string cosine_min_name;
  double snr_db = 0;  // over all elements
};

// `a` is the reference. Either may be plain or HLWQ, in any naming. Errors: kBadLayout for tensors
// of different shapes or present in only one (names the first few), kIo, kCancelled.
[[nodiscard]] Result<CompareReport> compare_checkpoints(const std::string& a, const std::string& b,
                                                        int threads,
                                                        const ConvertProgress& progress);

}  // namespace hlwq
