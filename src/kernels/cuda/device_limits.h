#pragma once

#include <cstddef>

namespace hlwq::cuda {

// What launchers fit their grids to. Results never depend on it.
struct DeviceLimits {
  int multiprocessors = 0;
  size_t shared_bytes = 0;  // most that one CTA may ask for
};

}  // namespace hlwq::cuda
