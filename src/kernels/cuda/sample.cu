// sample.cu: the next id of each row of logits, by the integers of ops/sampling.h.
// Math    keys: integers that order as the logits; masses: sampling_mass, 64-bit sums, any order
// Shapes  logits f32[rows][vocabulary] with a stride, up to 64 rows a launch -> ids i32[rows]
// Bytes   4 * vocabulary a row and pass: 131072 logits 0.5 MB; passes: 1 greedy, 2 with a
// temperature,
//         3 more for top-k and for top-p, 1 more when the cut falls among equal logits
// Floor   the launches, about 3 us each
// Method  A row is cut into parts of consecutive ids, a CTA each; the last CTA of a row to arrive
//         finishes the pass from what the others left (integers: no order matters).
//         find_first    the most likely id
//         select_digit  11, 11 or 10 bits of the key of the last id that top-k (by count) or top-p
//                       (by mass) keeps: a histogram of the keys that share the higher bits
//         pick_id       the id where a running sum over ascending ids exceeds a target: of equal
//         keys
//                       at the cut, which is the last to stay; then of the masses, the draw

#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/order_key.cuh"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/sample_row.cuh"
#include "ops/sampling.h"

namespace hlwq::cuda {
namespace {

constexpr int kMostParts = 128;
constexpr int kBins = 2048;
constexpr int kBinsOwn = kBins / kSampleThreads;

// Bits of a key that the passes of a selection look at.
struct Digit {
  int shift, bits;
};
__host__ __device__ constexpr Digit digit_at(int pass) {
  return pass == 0 ? Digit{21, 11} : pass == 1 ? Digit{10, 11} : Digit{0, 10};
}
constexpr int kDigits = 3;

// What the passes of a row leave for the next. The bins and `arrived` are zero between launches.
struct RowWork {
  uint64_t part_best[kMostParts];  // key, then the complement of the id
  uint64_t part_sum[kMostParts];
  uint64_t bin_mass[kBins];
  uint32_t bin_count[kBins];
  uint32_t arrived;
  // The state.
  float first;       // the most likely logit
  bool done;         // the id is out: greedy, or there is none
  bool cut_in_ties;  // cut_id is still to be found: the cut_ties-th of the ids with cut_key
  uint32_t cut_key;  // kept: above this key, or equal and up to cut_id
  uint32_t cut_ties;
  int32_t cut_id;
  uint32_t prefix;      // of a selection: the digits so far,
  uint64_t need;        // what is left of the count or mass to reach, among the ids with them,
  uint64_t mass_above;  // and the mass of the ids above those
  uint64_t kept_mass;   // of what top-k keeps
};

// Whether this CTA is the last of its row: it then sees what all of them wrote before.
__device__ __forceinline__ bool last_of_row(RowWork& work) {
  __shared__ bool last;
  __syncthreads();  // all threads have written
  if (threadIdx.x == 0) {
    __threadfence();  // what the CTA wrote comes before its arrival
    last = atomicAdd(&work.arrived, 1u) == gridDim.x - 1;
    if (last) work.arrived = 0;
    __threadfence();  // and the arrivals before what is read now
  }
  __syncthreads();  // the answer is there
  return last;
}

__device__ __forceinline__ bool has_top_k(const SampledRows& a) {
  const int32_t top_k = a.row[blockIdx.y].top_k;
  return top_k > 0 && top_k < a.vocabulary;
}
__device__ __forceinline__ bool has_top_p(const SampledRows& a) {
  return a.row[blockIdx.y].top_p < 1.0f;
}

__global__ void __launch_bounds__(kSampleThreads)
    find_first(const __grid_constant__ SampledRows a, int part_ids) {
  extern __shared__ uint32_t marks[];
  wait_for_inputs();
  let_next_start();
  RowWork& work = reinterpret_cast<RowWork*>(a.work)[blockIdx.y];
  const Part part = part_at(a, blockIdx.x, part_ids);
  RowReader reader(a, marks);
  reader.enter(part);
  uint64_t best = 0;
  for (int tile = part.begin; tile < part.end; tile += kSampleTile) {
    reader.for_own(tile + threadIdx.x * kOwn, [&](int, int id, float logit) {
      const uint64_t key = order_key(logit);
      best = max(best, key << 32 | (0xffffffffu - static_cast<uint32_t>(id)));
    });
  }
  best = most_of_cta(best);
  if (threadIdx.x == 0) work.part_best[blockIdx.x] = best;
  if (!last_of_row(work)) return;
  best = most_of_cta(threadIdx.x < gridDim.x ? __ldcg(&work.part_best[threadIdx.x]) : 0);
  if (threadIdx.x != 0) return;
  const auto key = static_cast<uint32_t>(best >> 32);
  const bool none = key <= kLowestKey;
  work.first = value_of_key(key);
  work.done = none || a.row[blockIdx.y].inverse_temperature == 0.0f;
  work.cut_in_ties = false;
  work.cut_key = 0;  // nothing is cut
  work.cut_id = INT32_MAX;
  if (work.done)
    a.ids[blockIdx.y] = none ? -1 : static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(best));
}

// The last CTA of a row: which value of the digit the cut has.
__device__ __forceinline__ void choose_bin(const SampledRows& a, RowWork& work, int pass,
                                           bool by_mass) {
  const float inverse_temperature = a.row[blockIdx.y].inverse_temperature;
  // Bins by falling key, kBinsOwn a thread.
  uint64_t mass[kBinsOwn], own_mass = 0, own_count = 0;
  uint32_t count[kBinsOwn];
#pragma unroll
  for (int i = 0; i < kBinsOwn; ++i) {
    const int bin = kBins - 1 - (static_cast<int>(threadIdx.x) * kBinsOwn + i);
    mass[i] = __ldcg(&work.bin_mass[bin]);
    count[i] = __ldcg(&work.bin_count[bin]);
    work.bin_mass[bin] = 0;
    work.bin_count[bin] = 0;
    own_mass += mass[i];
    own_count += count[i];
  }
  uint64_t need = work.need, mass_above = pass == 0 ? 0 : work.mass_above;
  const uint32_t prefix = pass == 0 ? 0 : work.prefix;
  const CtaSums masses = sum_over_cta(own_mass), counts = sum_over_cta(own_count);
  if (pass == 0 && by_mass) {
    // At least 1, so that the first of the order stays.
    const uint64_t total = has_top_k(a) ? work.kept_mass : masses.total;
    need = max(top_p_target(total, a.row[blockIdx.y].top_p), uint64_t{1});
  } else if (pass == 0) {
    need = static_cast<uint64_t>(a.row[blockIdx.y].top_k);
  }
  const uint64_t before = by_mass ? masses.before : counts.before;
  const uint64_t own = by_mass ? own_mass : own_count;
  __syncthreads();  // everyone has read the state that one thread now changes
  if (!(before < need && need <= before + own)) return;
  need -= before;
  mass_above += masses.before;
  uint32_t bin = 0, bin_ids = 0;
  bool found = false;
#pragma unroll
  for (int i = 0; i < kBinsOwn; ++i) {
    if (found) continue;
    const uint64_t here = by_mass ? mass[i] : count[i];
    if (need <= here) {
      found = true;
      bin = static_cast<uint32_t>(kBins - 1 - (threadIdx.x * kBinsOwn + i));
      bin_ids = count[i];
    } else {
      need -= here;
      mass_above += mass[i];
    }
  }
  work.prefix = prefix << digit_at(pass).bits | bin;
  work.need = need;
  work.mass_above = mass_above;
  if (pass != kDigits - 1) return;
  // All bits of the key are known: `need` is left among ids with equal keys.
  work.cut_key = work.prefix;
  const uint64_t each = mass_of_logit(value_of_key(work.cut_key), work.first, inverse_temperature);
  work.cut_ties = static_cast<uint32_t>(by_mass ? (need + each - 1) / each : need);
  work.kept_mass = mass_above + work.cut_ties * each;
  work.cut_in_ties = work.cut_ties < bin_ids;
  work.cut_id = INT32_MAX;
}

__global__ void __launch_bounds__(kSampleThreads)
    select_digit(const __grid_constant__ SampledRows a, int part_ids, int pass, bool by_mass) {
  extern __shared__ uint32_t marks[];
  // Masses of at most 2^40 in two halves: the sums of a tile's fit 32 bits.
  __shared__ uint32_t bin_count[kBins], bin_low[kBins], bin_high[kBins];
  constexpr int kLowBits = 20;
  static_assert(uint64_t{kSampleTile} << kLowBits <= UINT32_MAX &&
                uint64_t{kSampleTile} << (kMassBits - kLowBits) <= UINT32_MAX);
  wait_for_inputs();
  let_next_start();
  RowWork& work = reinterpret_cast<RowWork*>(a.work)[blockIdx.y];
  if (work.done || !(by_mass ? has_top_p(a) : has_top_k(a))) return;
  const auto [shift, bits] = digit_at(pass);
  const uint32_t prefix = pass == 0 ? 0 : work.prefix;
  const float first = work.first, inverse_temperature = a.row[blockIdx.y].inverse_temperature;
  const Part part = part_at(a, blockIdx.x, part_ids);
  RowReader reader(a, marks);
  reader.enter(part);
  for (int tile = part.begin; tile < part.end; tile += kSampleTile) {
    for (int bin = threadIdx.x; bin < kBins; bin += kSampleThreads)
      bin_count[bin] = bin_low[bin] = bin_high[bin] = 0;
    __syncthreads();  // the bins are empty
    reader.for_own(tile + threadIdx.x * kOwn, [&](int, int, float logit) {
      const uint32_t key = order_key(logit);
      if (pass != 0 && key >> (shift + bits) != prefix) return;
      const uint32_t bin = key >> shift & ((1u << bits) - 1);
      atomicAdd(&bin_count[bin], 1u);
      const uint64_t mass = mass_of_logit(logit, first, inverse_temperature);
      if (mass == 0) return;
      atomicAdd(&bin_low[bin], static_cast<uint32_t>(mass) & ((1u << kLowBits) - 1));
      atomicAdd(&bin_high[bin], static_cast<uint32_t>(mass >> kLowBits));
    });
    __syncthreads();  // the tile is counted
    for (int bin = threadIdx.x; bin < kBins; bin += kSampleThreads) {
      if (bin_count[bin] == 0) continue;
      atomicAdd(&work.bin_count[bin], bin_count[bin]);
      const uint64_t mass = (static_cast<uint64_t>(bin_high[bin]) << kLowBits) + bin_low[bin];
      if (mass != 0)
        atomicAdd(reinterpret_cast<unsigned long long*>(&work.bin_mass[bin]),
                  static_cast<unsigned long long>(mass));
    }
    // The thread that emptied a bin has added it up and empties it again.
  }
  if (last_of_row(work)) choose_bin(a, work, pass, by_mass);
}

// kTies: which of the ids with the key of the cut is the last to stay. Else: the draw.
template <bool kTies>
__global__ void __launch_bounds__(kSampleThreads)
    pick_id(const __grid_constant__ SampledRows a, int part_ids) {
  extern __shared__ uint32_t marks[];
  __shared__ int picked_part, picked_id;
  __shared__ uint64_t left;
  wait_for_inputs();
  let_next_start();
  RowWork& work = reinterpret_cast<RowWork*>(a.work)[blockIdx.y];
  if (work.done || (kTies && !work.cut_in_ties)) return;
  const RowSettings& settings = a.row[blockIdx.y];
  const uint32_t cut_key = work.cut_key;
  const int cut_id = work.cut_id;
  const float first = work.first;
  const uint64_t least = min_p_mass(settings.min_p);
  const auto weight = [&](int id, float logit) -> uint64_t {
    const uint32_t key = order_key(logit);
    if constexpr (kTies) {
      return key == cut_key ? 1 : 0;
    } else {
      if (key < cut_key || (key == cut_key && id > cut_id)) return 0;
      const uint64_t mass = mass_of_logit(logit, first, settings.inverse_temperature);
      return mass >= least ? mass : 0;
    }
  };

  const Part part = part_at(a, blockIdx.x, part_ids);
  RowReader reader(a, marks);
  reader.enter(part);
  uint64_t sum = 0;
  for (int tile = part.begin; tile < part.end; tile += kSampleTile)
    reader.for_own(tile + threadIdx.x * kOwn,
                   [&](int, int id, float logit) { sum += weight(id, logit); });
  sum = sum_over_cta(sum).total;
  if (threadIdx.x == 0) work.part_sum[blockIdx.x] = sum;
  if (!last_of_row(work)) return;

  const uint64_t own = threadIdx.x < gridDim.x ? __ldcg(&work.part_sum[threadIdx.x]) : 0;
  const CtaSums parts = sum_over_cta(own);
  const uint64_t target =
      kTies ? work.cut_ties - 1 : draw_target(settings.seed, settings.position, parts.total);
  if (threadIdx.x == 0) picked_part = picked_id = -1;
  __syncthreads();  // nothing is picked
  if (parts.before <= target && target < parts.before + own) {
    picked_part = static_cast<int>(threadIdx.x);
    left = target - parts.before;
  }
  __syncthreads();  // the part is picked
  if (picked_part >= 0) {
    const Part picked = part_at(a, picked_part, part_ids);
    uint64_t before_tile = 0;
    reader.enter(picked);
    for (int tile = picked.begin; tile < picked.end && picked_id < 0; tile += kSampleTile) {
      uint64_t weights[kOwn] = {}, own_sum = 0;
      reader.for_own(tile + threadIdx.x * kOwn, [&](int place, int id, float logit) {
        weights[place] = weight(id, logit);
        own_sum += weights[place];
      });
      const CtaSums sums = sum_over_cta(own_sum);
      uint64_t running = before_tile + sums.before;
      if (running <= left && left < running + own_sum) {
        int place = 0;
#pragma unroll
        for (int i = 0; i < kOwn; ++i) {
          running += weights[i];
          if (running <= left) place = i + 1;
        }
        picked_id = tile + static_cast<int>(threadIdx.x) * kOwn + place;
      }
      before_tile += sums.total;
      __syncthreads();  // the pick of this tile is there
    }
  }
  if (threadIdx.x != 0) return;
  if constexpr (kTies) {
    work.cut_id = picked_id;
    work.cut_in_ties = false;
  } else {
    a.ids[blockIdx.y] = picked_id;
  }
}

}  // namespace

size_t sampling_work_bytes() { return sizeof(RowWork) * kMostSampledRows; }

void sample_rows(const SampledRows& args, cudaStream_t stream) {
  HLWQ_CHECK(args.rows >= 1 && args.rows <= kMostSampledRows);
  HLWQ_CHECK(args.vocabulary >= 1 && args.vocabulary <= kLargestVocabulary);
  const int tiles = (args.vocabulary + kSampleTile - 1) / kSampleTile;
  const int part_ids = (tiles + kMostParts - 1) / kMostParts * kSampleTile;
  const int parts = (args.vocabulary + part_ids - 1) / part_ids;
  bool draws = false, top_k = false, top_p = false;
  for (int i = 0; i < args.rows; ++i) {
    const RowSettings& row = args.row[i];
    if (row.inverse_temperature == 0.0f) continue;
    draws = true;
    top_k = top_k || (row.top_k > 0 && row.top_k < args.vocabulary);
    top_p = top_p || row.top_p < 1.0f;
  }
  const Launch how = {.grid = {static_cast<unsigned>(parts), static_cast<unsigned>(args.rows)},
                      .block = kSampleThreads,
                      .shared_bytes = static_cast<size_t>(part_ids) / 8,
                      .stream = stream};
  launch(find_first, how, args, part_ids);
  if (top_k)
    for (int pass = 0; pass < kDigits; ++pass)
      launch(select_digit, how, args, part_ids, pass, false);
  if (top_p)
    for (int pass = 0; pass < kDigits; ++pass)
      launch(select_digit, how, args, part_ids, pass, true);
  if (top_k || top_p) launch(pick_id<true>, how, args, part_ids);
  if (draws) launch(pick_id<false>, how, args, part_ids);
}

}  // namespace hlwq::cuda
