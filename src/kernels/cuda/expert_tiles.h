#pragma once

#include <cstdint>

namespace hlwq::cuda {

// Some pairs of one expert: what one group of thread blocks multiplies together. The device makes
// the list (sort_choices.cu), so its length is known there alone.
struct ExpertTile {
  int32_t expert, first_pair, pairs;
};

}  // namespace hlwq::cuda
