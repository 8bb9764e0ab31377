#include "ops/expert_cache.h"

#include <algorithm>

#include "base/check.h"

namespace hlwq {
namespace {

// The slot that `layer` may take, or -1. Of empty ones the first.
int64_t find_victim(const ExpertCache& c, int64_t layer, const uint8_t* needed) {
  int64_t best = -1;
  uint64_t least = kStays;
  for (int64_t s = 0; s < c.shape.slots; ++s) {
    const ExpertSlot& slot = c.slots[s];
    if (slot.key == kNoSlot) continue;
    uint64_t priority = kEmptyPriority;
    if (slot.key >= 0) {
      const int64_t owner = slot.key / c.shape.experts;
      const bool stays = owner == layer ? needed[slot.key % c.shape.experts] != 0
                                        : c.held[owner] <= c.shape.least_per_layer;
      if (stays) continue;
      priority =
          priority_of(c.shape.policy, slot.key, c.uses[slot.key], slot.filled, c.steps[owner]);
    }
    if (priority < least) least = priority, best = s;
  }
  return best;
}

// Marks the experts that the host multiplies: shares[m] of m that are in no slot.
void hand_over(const ExpertCache& c, int64_t layer, const int32_t* shares, ExpertAddress* table,
               uint8_t* needed) {
  if (shares == nullptr) return;
  const int64_t experts = c.shape.experts;
  const auto misses = [&](int64_t e) {
    return needed[e] == kNeeded && c.slot_of[layer * experts + e] < 0;
  };
  const auto priority = [&](int64_t e) {
    const auto key = static_cast<int32_t>(layer * experts + e);
    return miss_priority(c.shape.policy, key, c.uses[key], c.steps[layer]);
  };
  int64_t count = 0;
  for (int64_t e = 0; e < experts; ++e) count += misses(e) ? 1 : 0;
  for (int64_t left = std::clamp<int64_t>(shares[count], 0, count); left > 0; --left) {
    int64_t least = -1;
    for (int64_t e = 0; e < experts; ++e)
      if (misses(e) && (least < 0 || priority(e) < priority(least))) least = e;
    needed[least] = kHandedOver;
    table[least] = {};
    ++c.counts[layer].misses;
    ++c.counts[layer].on_host;
  }
}

}  // namespace

void place_experts_on_host(const ExpertCache& c, int64_t layer, const int32_t* ids, int64_t choices,
                           const int32_t* shares, ExpertAddress* table, uint8_t* needed) {
  const int64_t experts = c.shape.experts;
  std::fill_n(needed, experts, uint8_t{0});
  for (int64_t i = 0; i < choices; ++i) {
    HLWQ_CHECK(ids[i] >= 0 && ids[i] < experts);
    needed[ids[i]] = kNeeded;
  }
  const uint32_t step = ++c.steps[layer];
  ExpertCounts& counts = c.counts[layer];
  *c.copy_count = 0;
  const auto address = [&](const std::byte* record) {
    return ExpertAddress{record, record + c.records[layer].down_offset};
  };
  for (int64_t e = 0; e < experts; ++e) {
    if (needed[e] == 0) continue;
    const int64_t key = layer * experts + e;
    note_use(c.shape.policy, step, c.uses[key]);
    if (c.slot_of[key] < 0) continue;
    ++counts.hits;
    table[e] = address(c.slot_data[c.slot_of[key]]);
  }
  hand_over(c, layer, shares, table, needed);
  for (int64_t e = 0; e < experts; ++e) {
    const int64_t key = layer * experts + e;
    if (needed[e] != kNeeded || c.slot_of[key] >= 0) continue;
    ++counts.misses;
    const int64_t victim = find_victim(c, layer, needed);
    if (victim < 0) {
      ++counts.in_place;
      table[e] = address(c.home[key]);
      continue;
    }
    ExpertSlot& slot = c.slots[victim];
    if (slot.key >= 0) {
      c.slot_of[slot.key] = -1;
      --c.held[slot.key / experts];
    }
    slot = {.key = static_cast<int32_t>(key), .filled = step};
    c.slot_of[key] = static_cast<int32_t>(victim);
    ++c.held[layer];
    c.copies[(*c.copy_count)++] = {.from = c.home[key], .to = c.slot_data[victim], .expert = e};
    table[e] = address(c.slot_data[victim]);
  }
}

}  // namespace hlwq
