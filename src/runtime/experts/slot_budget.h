#pragma once
// How many experts a device gets slots for, and what follows from their number alone. One
// arithmetic for those who load a model and those who plan to.

#include <cstdint>
#include <vector>

#include "ops/expert_cache.h"

namespace hlwq {

// Everything that is known before the slots are allocated. Bytes of the device.
struct SlotBudget {
  int64_t layers = 0, experts = 0;  // MoE layers, experts of each
  int64_t slot_bytes = 0;
  int64_t vram_bytes = 0;       // budget for everything there, whoever's it is; 0: none
  int64_t slots_per_layer = 0;  // wanted; 0: what the budget leaves
  int64_t used_bytes = 0;       // there now, all that comes before the slots
  int64_t free_bytes = 0;
  int64_t later_bytes = 0;  // that will be asked for after them, without bookkeeping

  // The most slots there is a use for.
  [[nodiscard]] int64_t most_slots() const;
  // Of the cache's state, for the most slots: it changes too little with their number to matter.
  [[nodiscard]] int64_t bookkeeping_bytes() const;
  // Slots asked for, or left by the budget: negative when it lacks even what else there is.
  [[nodiscard]] int64_t wanted_slots() const;
  // Of those, as many as there is room for.
  [[nodiscard]] int64_t slots() const;
  // The least budget that leaves so many.
  [[nodiscard]] int64_t bytes_for(int64_t count) const;
};

// Bytes of device memory beside the slots.
[[nodiscard]] int64_t bookkeeping_bytes_of(const ExpertCacheShape& shape);

// Experts that a layer keeps whatever others need: a quarter of an even share.
[[nodiscard]] int64_t least_per_layer(int64_t slots, int64_t layers);

// Whether a step of so many tokens touches more experts than the cache should take in, when every
// choice is as likely: it would turn the whole cache over in one pass of the layers.
[[nodiscard]] bool is_streamed(int64_t layers, int64_t experts, int64_t used, int64_t tokens,
                               int64_t slots);

// Keys of the experts that begin in slots, slot after slot: the hottest last, because streamed
// steps take the first slots. `hotness` [keys], or empty: the first experts of every layer.
[[nodiscard]] std::vector<int32_t> first_residents(const ExpertCacheShape& shape,
                                                   const std::vector<float>& hotness);

}  // namespace hlwq
