#pragma once
// What back ends whose device is the host share.

#include <cstddef>
#include <cstdint>

#include "ops/backend.h"

namespace hlwq {

// Memory of this machine; 0 where the system does not say. `allocated` and `peak` stay 0.
[[nodiscard]] DeviceMemory host_memory();

// Bytes [begin, end) of what Backend::fill_random gives the memory at `to`; `begin` is a multiple
// of 8.
void fill_random_range(std::byte* to, size_t begin, size_t end, uint64_t seed, uint64_t keep,
                       uint64_t set);

}  // namespace hlwq
