#pragma once
// How much a model's predictions suffer when one kind of matrices is quantized.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "calibrate/text_model.h"
#include "convert/name_plan.h"
#include "quant/codebook.h"
#include "quant/encode.h"

namespace hlwq {

inline constexpr int kLeastBits = 3, kMostBits = 8;  // that kinds may get

struct SensitivityOptions {
  int probe_bits = 4;     // width at which the predictions are compared
  int64_t tokens = 4096;  // compared, at most; whole windows
  CodebookKind codebook = CodebookKind::kGrid;
  NormRule norms = NormRule::kSearch;
};

struct KindSensitivity {
  std::string kind;  // kind_of
  int64_t matrices = 0, weights = 0;
  int64_t padded = 0;   // weights with those that fill rows up to whole blocks
  double probe_kl = 0;  // nats, mean, with all matrices of the kind at probe_bits
  // Share of the weights' energy that is error, by bits: how KL goes with the width.
  std::array<double, kMostBits + 1> error{};

  // What is to be expected of the kind at so many bits: KL grows with the error's energy.
  [[nodiscard]] double kl_at(int bits, int probe_bits) const {
    return probe_kl * error[static_cast<size_t>(bits)] / error[static_cast<size_t>(probe_bits)];
  }
  // Codes and norms.
  [[nodiscard]] int64_t bits_at(int bits) const { return padded * bits + padded / kBlock * 16; }
};

// Quantizes the matrices of one kind after the other in the loaded model, compares its predictions
// with the original's, and puts the matrices back. `tensors` are those to be quantized.
// Errors: as TextModel::run and reading the tensors.
[[nodiscard]] Result<std::vector<KindSensitivity>> measure_sensitivity(
    TextModel& model, const std::vector<SourceTensor>& tensors, const SensitivityOptions& options);

}  // namespace hlwq
