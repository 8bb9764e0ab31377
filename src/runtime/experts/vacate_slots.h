#pragma once

#include <cstdint>

#include "ops/backend.h"
#include "ops/expert_cache.h"

namespace hlwq {

// Takes what slots [first, last) hold out of the cache, whose state lies on the device, and leaves
// them `key`, kEmptySlot or kNoSlot. Waits for the device.
void vacate_slots(Backend& backend, const ExpertCache& cache, int64_t first, int64_t last,
                  int32_t key);

}  // namespace hlwq
