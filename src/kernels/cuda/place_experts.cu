// place_experts.cu: finds slots for the experts of a layer's step; which, ops/expert_cache.h says.
// Shapes  ids i32[choices] -> table [experts] of those chosen, copies [misses]; state of the cache
// Bytes   8 a choice, 24 a slot and miss; 800 slots, 4 misses: some 40 KB of L2
// Floor   a launch and four dependent reads of L2 (ids, slot_of, slots, uses): 3 us
// Method  one CTA. What the host is to multiply is sent first, so that it begins while slots are
//         chosen. Priorities of all slots go to shared memory once; a victim is one minimum over
//         them, then its slot stays. Experts take their turns in ascending order, as on the host
// Source  own

#include "base/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/place_experts.h"
#include "quant/block.h"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 1024, kWarps = kThreads / 32;
constexpr int kAtOnce = 3;  // slots of a thread whose state is read together

struct Best {
  uint64_t priority;
  int slot;
};

// The least priority of the warp, the lowest slot among equals.
__device__ __forceinline__ Best least_of_warp(Best mine) {
  const auto high = static_cast<uint32_t>(mine.priority >> 32);
  const uint32_t least_high = __reduce_min_sync(0xffffffffu, high);
  const uint32_t low = high == least_high ? static_cast<uint32_t>(mine.priority) : 0xffffffffu;
  const uint32_t least_low = __reduce_min_sync(0xffffffffu, low);
  const bool is_least = high == least_high && low == least_low;
  const uint32_t slot =
      __reduce_min_sync(0xffffffffu, is_least ? static_cast<uint32_t>(mine.slot) : 0xffffffffu);
  return {uint64_t{least_high} << 32 | least_low, static_cast<int>(slot)};
}

// Puts `bytes`, a multiple of 4, into the mail; all threads of the CTA call it.
__device__ __forceinline__ void send(void* to, const void* from, int64_t bytes) {
  if (bytes % 16 == 0) {
    for (int64_t i = threadIdx.x; i < bytes / 16; i += kThreads)
      static_cast<uint4*>(to)[i] = static_cast<const uint4*>(from)[i];
  } else {
    for (int64_t i = threadIdx.x; i < bytes / 4; i += kThreads)
      static_cast<uint32_t*>(to)[i] = static_cast<const uint32_t*>(from)[i];
  }
}

__device__ __forceinline__ void set_asked(uint64_t* asked, uint64_t word) {
  asm volatile("st.release.sys.u64 [%0], %1;" ::"l"(asked), "l"(word) : "memory");
}

__global__ void __launch_bounds__(kThreads, 1)
    place_experts_of_layer(const ExpertCache c, int layer, const int32_t* ids, int choices,
                           ExpertAddress* table, const ExpertMail mail, const QuantizedInput x) {
  extern __shared__ uint64_t priority[];                                      // [slots]
  auto* const key_of = reinterpret_cast<int32_t*>(priority + c.shape.slots);  // [slots]
  auto* const held = key_of + c.shape.slots;                                  // [layers]
  __shared__ uint8_t needed[kMostPlacedExperts];
  __shared__ int16_t missing[kMostPlacedExperts];  // experts, ascending
  __shared__ int16_t victim[kMostPlacedExperts];   // slots of the first of them
  __shared__ int missing_count, needed_count, host_share;
  __shared__ Best warp_best[kWarps];
  let_next_start();
  wait_for_inputs();
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const auto experts = static_cast<int>(c.shape.experts), slots = static_cast<int>(c.shape.slots);
  const int first_key = layer * experts;
  const uint32_t step = c.steps[layer] + 1;
  const int64_t down_offset = c.records[layer].down_offset;
  const auto address = [&](const std::byte* record) {
    return ExpertAddress{record, record + down_offset};
  };

  // Over the bus: asked for now, of use when the misses are counted.
  const bool has_host = mail.asked != nullptr;
  int32_t share[kMostPlacedExperts / kThreads + 1];
#pragma unroll
  for (int k = 0; k <= kMostPlacedExperts / kThreads; ++k) {
    const int m = thread + k * kThreads;
    share[k] = has_host && m <= min(experts, choices) ? __ldcv(mail.shares + m) : 0;
  }
  for (int l = thread; l < c.shape.layers; l += kThreads) held[l] = c.held[l];
  for (int e = thread; e < experts; e += kThreads) needed[e] = 0;
  __syncthreads();  // no expert is needed
  for (int i = thread; i < choices; i += kThreads) needed[ids[i]] = 1;
  __syncthreads();  // those chosen are
  if (warp == 0) {
    int count = 0, all = 0;
    for (int first = 0; first < experts; first += 32) {
      const int e = first + lane;
      const bool wanted = e < experts && needed[e] != 0;
      int slot = -1;
      if (wanted) {
        slot = c.slot_of[first_key + e];
        ExpertUse use = c.uses[first_key + e];
        note_use(c.shape.policy, step, use);
        c.uses[first_key + e] = use;
        if (slot >= 0) table[e] = address(c.slot_data[slot]);
        c.down_ready[e] = 1;  // until its copy is ordered
      }
      const unsigned votes = __ballot_sync(0xffffffffu, wanted && slot < 0);
      if (wanted && slot < 0)
        missing[count + __popc(votes & ((1u << lane) - 1))] = static_cast<int16_t>(e);
      count += __popc(votes);
      all += __popc(__ballot_sync(0xffffffffu, wanted));
    }
    if (lane == 0) missing_count = count, needed_count = all, host_share = 0;
  }
  if (has_host) {
    __syncthreads();  // the list is complete
    const int count = missing_count;
#pragma unroll
    for (int k = 0; k <= kMostPlacedExperts / kThreads; ++k)
      if (thread + k * kThreads == count) host_share = min(max(share[k], 0), count);
    __syncthreads();  // the share is known
    const int handed = host_share;
    // Which go to the host: those that a cache would keep least. The list becomes those that stay;
    // where the others are is in `needed`. (Few are missing: a place for their order in shared
    // memory would be slots fewer.)
    const auto order = [&](int i) {
      const int key = first_key + missing[i];
      return miss_priority(c.shape.policy, key, c.uses[key], step);
    };
    for (int i = thread; i < count && handed > 0; i += kThreads) {
      const uint64_t mine = order(i);
      int rank = 0;
      for (int j = 0; j < count; ++j) rank += order(j) < mine ? 1 : 0;
      if (rank < handed) needed[missing[i]] = kHandedOver;
    }
    __syncthreads();  // those handed over are marked
    if (warp == 0 && handed > 0) {
      int stay = 0, go = 0;
      for (int first = 0; first < count; first += 32) {
        const int i = first + lane;
        const int e = i < count ? missing[i] : 0;
        const bool goes = i < count && needed[e] == kHandedOver, stays = i < count && !goes;
        const unsigned going = __ballot_sync(0xffffffffu, goes);
        const unsigned staying = __ballot_sync(0xffffffffu, stays);
        const unsigned before = (1u << lane) - 1;
        if (goes) {
          mail.experts[go + __popc(going & before)] = e;
          table[e] = {nullptr, nullptr};
        }
        __syncwarp();  // missing[] up to here has been read
        if (stays) missing[stay + __popc(staying & before)] = static_cast<int16_t>(e);
        go += __popc(going), stay += __popc(staying);
      }
      if (lane == 0) missing_count = stay;
    }
    if (handed > 0) {
      send(mail.ids, ids, int64_t{4} * choices);
      send(mail.xq, x.xq, int64_t{x.rows} * x.blocks * kBlock);
      send(mail.sx, x.sx, int64_t{4} * x.rows * x.blocks);
      send(mail.sum, x.sum, int64_t{4} * x.rows * x.blocks);
      __threadfence_system();
    }
    __syncthreads();  // all of it is sent
    if (thread == 0) {
      const uint64_t number = *c.questions + 1;
      *c.questions = number;
      *c.host_ready = handed == 0 ? 1 : 0;
      if (handed > 0) *mail.question = {.layer = layer, .tokens = x.rows, .experts = handed};
      set_asked(mail.asked, question_word(number, handed > 0));
    }
  }
  // Experts of the step stay whatever their priority, so no use that is being noted matters here.
  for (int first = thread; first < slots; first += kAtOnce * kThreads) {
    ExpertSlot slot[kAtOnce];
    ExpertUse use[kAtOnce];
    uint32_t owner_step[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      slot[k] = first + k * kThreads < slots ? c.slots[first + k * kThreads] : ExpertSlot{};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int key = max(slot[k].key, 0);
      use[k] = c.uses[key];
      owner_step[k] = c.steps[key / experts];
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int s = first + k * kThreads, key = slot[k].key;
      if (s >= slots) continue;
      uint64_t p = key == kNoSlot ? kStays : kEmptyPriority;
      if (key >= 0) {
        const int owner = key / experts;
        const bool stays = owner == layer ? needed[key % experts] == kNeeded
                                          : held[owner] <= c.shape.least_per_layer;
        p = stays ? kStays
                  : priority_of(c.shape.policy, key, use[k], slot[k].filled,
                                owner == layer ? step : owner_step[k]);
      }
      priority[s] = p;
      key_of[s] = key;
    }
  }
  __syncthreads();  // the list is complete, priorities are there
  const int misses = missing_count;
  int copies = 0;
  for (int i = 0; i < misses; ++i) {
    Best best = {kStays, 0x7fffffff};
    for (int s = thread; s < slots; s += kThreads)
      if (priority[s] < best.priority) best = {priority[s], s};
    best = least_of_warp(best);
    if (lane == 0) warp_best[warp] = best;
    __syncthreads();  // every warp's best is there
    best = least_of_warp(lane < kWarps ? warp_best[lane] : Best{kStays, 0x7fffffff});
    if (best.priority == kStays) break;  // nor is there one for those that follow
    if (thread == 0) victim[i] = static_cast<int16_t>(best.slot);
    ++copies;
    const int old = key_of[best.slot], owner = old < 0 ? layer : old / experts;
    // A layer that comes down to its least keeps the rest.
    const bool keeps = owner != layer && held[owner] - 1 <= c.shape.least_per_layer;
    __syncthreads();  // all have seen the slot's owner as it was
    if (thread == 0) {
      priority[best.slot] = kStays;
      if (old >= 0) --held[owner];
      ++held[layer];
    }
    if (keeps)
      for (int s = thread; s < slots; s += kThreads)
        if (key_of[s] >= 0 && key_of[s] / experts == owner) priority[s] = kStays;
    __syncthreads();  // priorities are as this victim leaves them
  }

  __syncthreads();  // all victims are known
  for (int i = thread; i < misses; i += kThreads) {
    const int e = missing[i], key = first_key + e;
    const std::byte* const home = c.home[key];
    if (i >= copies) {
      table[e] = address(home);
      continue;
    }
    const int slot = victim[i];
    std::byte* const to = c.slot_data[slot];
    if (key_of[slot] >= 0) c.slot_of[key_of[slot]] = -1;
    c.slots[slot] = {.key = key, .filled = step};
    c.slot_of[key] = slot;
    c.copies[i] = {.from = home, .to = to, .expert = e};
    c.down_ready[e] = 0;
    table[e] = address(to);
  }
  for (int l = thread; l < c.shape.layers; l += kThreads) c.held[l] = held[l];
  if (thread != 0) return;
  c.steps[layer] = step;
  *c.copy_count = copies;
  *c.up_ready = copies == 0 ? 1 : 0;
  ExpertCounts counts = c.counts[layer];
  counts.hits += static_cast<uint64_t>(needed_count - misses - host_share);
  counts.misses += static_cast<uint64_t>(misses + host_share);
  counts.on_host += static_cast<uint64_t>(host_share);
  counts.in_place += static_cast<uint64_t>(misses - copies);
  c.counts[layer] = counts;
}

}  // namespace

void place_experts(const ExpertCache& cache, int64_t layer, const int32_t* ids, int64_t choices,
                   ExpertAddress* table, const ExpertMail& mail, const QuantizedInput& x,
                   const DeviceLimits& device, cudaStream_t stream) {
  HLWQ_CHECK(cache.shape.experts <= kMostPlacedExperts && cache.shape.slots <= kMostSlots);
  allow_shared_bytes(place_experts_of_layer, device);
  launch(place_experts_of_layer,
         {.grid = 1,
          .block = kThreads,
          .shared_bytes = static_cast<size_t>(cache.shape.slots) * 12 +
                          static_cast<size_t>(cache.shape.layers) * sizeof(int32_t),
          .stream = stream},
         cache, static_cast<int>(layer), ids, static_cast<int>(choices), table, mail, x);
}

}  // namespace hlwq::cuda
