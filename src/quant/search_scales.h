#pragma once
// The scales that a search tries in each block (TrialScales).

#include <array>
#include <cstddef>

#include "quant/block_kernel.h"

namespace hlwq {

class SearchScales {
 public:
  // For tables of so many levels.
  explicit SearchScales(size_t levels);
  // Refers to this object.
  [[nodiscard]] TrialScales trials() const {
    return {
        .inverse_factors = inverse_factors_.data(), .trials = kTrials, .refinements = kRefinements};
  }

 private:
  static constexpr int kTrials = 12, kRefinements = 2;
  std::array<float, kTrials> inverse_factors_;
};

}  // namespace hlwq
