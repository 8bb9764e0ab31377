#pragma once
// The cache of routed experts: which slot of device memory holds which expert. The state lies in
// the device's memory and is changed by an op in the middle of a step (Backend::place_experts), so
// that a recorded step decides anew each time. One pool of slots serves all MoE layers. This header
// is for host and device: what an op decides depends on it alone.
//
// Promises: an entry of `slot_of` names a slot that holds that expert, and no slot is named twice;
// an expert that the step's layer needs is never evicted by that layer; any number of slots works.

#include <cstdint>

#include "base/host_device.h"
#include "ops/array_layout.h"
#include "ops/expert_address.h"
#include "ops/expert_mail.h"

namespace hlwq {

// Which expert leaves first. Ages are counted in steps of a layer.
enum class CachePolicy : int32_t {
  kLru,   // the one unused for longest
  kLfru,  // least of f / (1 + age), f = 0.95 f + 1 at each use (the published score, without its
          // evicting experts of the step at hand)
  kFifo,  // the one loaded first
  kFrecency,  // least of uses / (kRecentSteps + age), uses weighing half after kHalfLife steps
};

// What is known of an expert's uses, whether it is in a slot or not.
struct ExpertUse {
  uint32_t last = 0;  // the layer's step of its last use
  float weight = 0;   // of its uses
};

inline constexpr int32_t kEmptySlot = -1;
inline constexpr int32_t kNoSlot = -2;  // its memory was given back
struct ExpertSlot {
  int32_t key = kEmptySlot;  // layer * experts + expert, or one of these
  uint32_t filled = 0;       // the layer's step when it was filled
};

// What one layer's steps found, since the counters were last cleared.
struct ExpertCounts {
  uint64_t hits = 0;      // experts that were in a slot
  uint64_t misses = 0;    // that were not
  uint64_t on_host = 0;   // of those: multiplied by the host
  uint64_t in_place = 0;  // of those: read where they lie, because no slot was free for them
  uint64_t stall_ns = 0;  // that the step waited for their copies
};

// The record of one expert of a layer.
struct ExpertRecord {
  int64_t bytes = 0;        // up and down; a multiple of 16
  int64_t down_offset = 0;  // of down in it
};

// A copy that place_experts ordered.
struct ExpertCopy {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  int64_t expert = 0;  // of the layer
};

struct ExpertCacheShape {
  int64_t layers = 0;
  int64_t experts = 0;          // of each layer
  int64_t slots = 0;            // at least 1, each for the largest record
  int64_t least_per_layer = 0;  // experts that a layer keeps whatever others need
  CachePolicy policy = CachePolicy::kLru;

  [[nodiscard]] HLWQ_HD int64_t keys() const { return layers * experts; }
};

// Arrays of the state. All pointers are to memory of the device.
struct ExpertCache {
  ExpertCacheShape shape;
  ExpertSlot* slots = nullptr;       // [slots]
  std::byte** slot_data = nullptr;   // [slots] where each lies
  int32_t* slot_of = nullptr;        // [keys] or -1
  int32_t* held = nullptr;           // [layers] slots that hold experts of the layer
  uint32_t* steps = nullptr;         // [layers] place_experts calls
  ExpertUse* uses = nullptr;         // [keys]
  ExpertCounts* counts = nullptr;    // [layers]
  ExpertRecord* records = nullptr;   // [layers]
  const std::byte** home = nullptr;  // [keys] records in host memory that the device can read
  ExpertCopy* copies = nullptr;      // [experts] of the call
  int32_t* copy_count = nullptr;
  // Of use to a device that copies while it multiplies:
  uint32_t* arrivals = nullptr;    // [experts + 2] counters of its parts, zero between calls
  uint32_t* up_ready = nullptr;    // not 0: the up matrices of the last call have all arrived
  uint32_t* down_ready = nullptr;  // [experts] not 0: the expert's down matrix has
  uint32_t* host_ready = nullptr;  // not 0: the host's answer to the last call has arrived
  uint64_t* questions = nullptr;   // to the host so far
  BusTime* bus = nullptr;          // what the mail shows
};

// Slots of a pool: what the smallest shared memory of a supported GPU, 99 KiB, lets one thread
// block look over (place_experts.cu).
inline constexpr int64_t kMostSlots = 7168;
inline constexpr int64_t kMostExpertKeys = 65536;  // experts of all layers

// Chosen on traces of the trained tiny model and on skewed routing (bench/NOTES.md).
inline constexpr uint32_t kHalfLife = 256;
inline constexpr float kRecentSteps = 8;

// A count of uses as it weighs `age` steps later. Halves exactly, falls evenly between.
HLWQ_HD inline float weight_after(float weight, uint32_t age) {
  const uint32_t halvings = age / kHalfLife;
  if (halvings >= 100) return 0.0f;
  for (uint32_t i = 0; i < halvings; ++i) weight = weight * 0.5f;
  const auto rest = static_cast<float>(age % kHalfLife) * (0.5f / static_cast<float>(kHalfLife));
  return weight - weight * rest;
}

// A use in step `step` of the layer. All policies but kLfru keep the aged count: it also says which
// experts to begin with next time.
HLWQ_HD inline void note_use(CachePolicy policy, uint32_t step, ExpertUse& use) {
  use.weight = policy == CachePolicy::kLfru ? 0.95f * use.weight + 1.0f
                                            : weight_after(use.weight, step - use.last) + 1.0f;
  use.last = step;
}

// The least leaves first; no two experts have the same: among equals the one used longer ago, then
// the lower key. `step`: of the layer whose expert it is. Never 0, which is the priority of an
// empty slot, nor all ones, which is that of a slot that must stay.
inline constexpr uint64_t kEmptyPriority = 0, kStays = ~uint64_t{0};
HLWQ_HD inline uint64_t priority_of(CachePolicy policy, int32_t key, const ExpertUse& use,
                                    uint32_t filled, uint32_t step) {
  const uint32_t age = step - use.last;
  float score = 0;
  switch (policy) {
    case CachePolicy::kLru:
      return (uint64_t{0xfffffffeu - age} << 32 | static_cast<uint32_t>(key)) + 1;
    case CachePolicy::kFifo:
      return (uint64_t{0xfffffffeu - (step - filled)} << 32 | static_cast<uint32_t>(key)) + 1;
    case CachePolicy::kLfru:
      score = use.weight / (1.0f + static_cast<float>(age));
      break;
    case CachePolicy::kFrecency:
      score = weight_after(use.weight, age) / (kRecentSteps + static_cast<float>(age));
      break;
  }
  // Floats that are not negative order like their bits.
  uint32_t bits;
  static_assert(sizeof bits == sizeof score);
  __builtin_memcpy(&bits, &score, sizeof bits);
  const uint32_t youth = 0xffffu - (age < 0xffffu ? age : 0xffffu);
  return (uint64_t{bits} << 32 | youth << 16 | static_cast<uint32_t>(key)) + 1;
}

// Bytes of the state's arrays and how they lie one after the other in `memory`; with null pointers
// it only counts. Host and device lay them out alike, so that an image made on the host can be
// uploaded as it is.
struct ExpertCacheLayout {
  ExpertCache cache;
  int64_t bytes = 0;
};
inline ExpertCacheLayout lay_out_cache(const ExpertCacheShape& shape, std::byte* memory) {
  ExpertCacheLayout layout;
  layout.cache.shape = shape;
  constexpr int64_t kAlign = 16;
  ArrayLayout arrays(memory, kAlign);
  ExpertCache& c = layout.cache;
  arrays.place(c.slots, shape.slots);
  arrays.place(c.slot_data, shape.slots);
  arrays.place(c.slot_of, shape.keys());
  arrays.place(c.held, shape.layers);
  arrays.place(c.steps, shape.layers);
  arrays.place(c.uses, shape.keys());
  arrays.place(c.counts, shape.layers);
  arrays.place(c.records, shape.layers);
  arrays.place(c.home, shape.keys());
  arrays.place(c.copies, shape.experts);
  arrays.place(c.copy_count, 1);
  arrays.place(c.arrivals, shape.experts + 2);
  arrays.place(c.up_ready, 1);
  arrays.place(c.down_ready, shape.experts);
  arrays.place(c.host_ready, 1);
  arrays.place(c.questions, 1);
  arrays.place(c.bus, 1);
  layout.bytes = arrays.bytes();
  return layout;
}

// Of experts that are in no slot, the host gets those that would leave one first.
HLWQ_HD inline uint64_t miss_priority(CachePolicy policy, int32_t key, const ExpertUse& use,
                                      uint32_t step) {
  return priority_of(policy, key, use, step, step);
}

// `needed` after place_experts_on_host.
inline constexpr uint8_t kNeeded = 1, kHandedOver = 2;

// What place_experts does, on the host: finds slots for the experts of `ids` [choices] of a layer,
// orders the copies of those that are in none and says in `table` [experts] where each lies. The
// caller runs the copies. `shares` as ExpertMail's, or null: the host multiplies none. Those it
// does get no address. `needed` [experts] says afterwards which were chosen and handed over.
void place_experts_on_host(const ExpertCache& cache, int64_t layer, const int32_t* ids,
                           int64_t choices, const int32_t* shares, ExpertAddress* table,
                           uint8_t* needed);

}  // namespace hlwq
