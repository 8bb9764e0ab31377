#pragma once
// How much each expert was used, kept between runs: JSON {"layers", "experts", "uses": [[...]]}.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace hlwq {

struct HotnessShape {
  int64_t layers = 0, experts = 0;
};

// [layers * experts], or nothing when there is no such file. One that does not fit (another model,
// damaged) is passed over with a warning: it only says where to begin.
[[nodiscard]] std::vector<float> read_hotness(const std::string& path, const HotnessShape& shape);

// Errors: kIo.
[[nodiscard]] Status write_hotness(const std::string& path, const HotnessShape& shape,
                                   const std::vector<float>& hotness);

}  // namespace hlwq
