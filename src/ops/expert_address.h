#pragma once

#include <cstddef>

namespace hlwq {

// Where the matrices of one expert lie, for tables that the device reads.
struct ExpertAddress {
  const std::byte* up = nullptr;
  const std::byte* down = nullptr;
};

}  // namespace hlwq
