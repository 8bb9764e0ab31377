#pragma once
// A token's experts and their weights from the scores of the gate, by one warp; the arithmetic is
// described in route.cu. Values become integers that order alike (order_key.cuh) and lie in
// registers, so that one warp maximum and one minimum of the indices that reach it make a step of
// the choice.

#include <cstdint>

#include "kernels/cuda/order_key.cuh"
#include "kernels/cuda/route.h"

namespace hlwq::cuda {

inline constexpr uint32_t kTaken = 0;  // not the key of any value, and below them

// Floats of shared memory that choose_experts works in.
inline int64_t route_choice_floats(int64_t experts, int64_t groups) { return 2 * experts + groups; }

// Takes the `count` largest of the warp's keys, the lower index among equals: they become kTaken.
// Lane l has those of index 32 i + l; places beyond the last key hold kTaken.
template <int kTurns>
__device__ __forceinline__ void take_largest(uint32_t (&keys)[kTurns], int count) {
  const auto lane = static_cast<int>(threadIdx.x % 32);
  for (int n = 0; n < count; ++n) {
    uint32_t best = kTaken;
    int at = lane;
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      if (keys[i] > best) {  // strictly: the lane's lowest index stays
        best = keys[i];
        at = 32 * i + lane;
      }
    }
    const uint32_t most = __reduce_max_sync(0xffffffffu, best);
    const auto winner = static_cast<int>(
        __reduce_min_sync(0xffffffffu, best == most ? static_cast<unsigned>(at) : 0xffffffffu));
#pragma unroll
    for (int i = 0; i < kTurns; ++i)
      if (winner == 32 * i + lane) keys[i] = kTaken;
  }
}

// The sum of the two largest corrected scores of a group (one, when the group is one expert), NaN
// left out.
__device__ __forceinline__ float group_score(const float* scores, const float* bias, int size) {
  float best = -HUGE_VALF, second = -HUGE_VALF;
  for (int e = 0; e < size; ++e) {
    const float corrected = scores[e] + bias[e];
    if (corrected > best) {
      second = best;
      best = corrected;
    } else if (corrected > second) {
      second = corrected;
    }
  }
  return size == 1 ? best : best + second;
}

// The warp's keys from shared memory; each lane wrote those it reads.
template <int kTurns>
__device__ __forceinline__ void load_keys(uint32_t (&keys)[kTurns], const uint32_t* shared,
                                          int size) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < kTurns; ++i) keys[i] = 32 * i + lane < size ? shared[32 * i + lane] : kTaken;
}

// The keys of experts outside of the best groups become the lowest. In shared memory: the scores,
// room for the keys of the experts and for those of the groups.
template <int kTurns>
__device__ __forceinline__ void keep_best_groups(const RouteRows& a, const float* scores,
                                                 uint32_t* expert_keys, uint32_t* group_keys,
                                                 uint32_t (&keys)[kTurns]) {
  const auto experts = static_cast<int>(a.experts), groups = static_cast<int>(a.groups);
  const int lane = threadIdx.x % 32, size = experts / groups;
  __syncwarp();  // all scores of the token are there
  for (int g = lane; g < groups; g += 32)
    group_keys[g] = order_key(group_score(scores + g * size, a.correction_bias + g * size, size));
  load_keys(keys, group_keys, groups);
  take_largest(keys, static_cast<int>(a.groups_used));
#pragma unroll
  for (int i = 0; i < kTurns; ++i)
    if (32 * i + lane < groups) group_keys[32 * i + lane] = keys[i];
  __syncwarp();  // which groups were taken is there
  for (int e = lane; e < experts; e += 32)
    expert_keys[e] =
        group_keys[e / size] == kTaken ? order_key(scores[e] + a.correction_bias[e]) : kLowestKey;
  load_keys(keys, expert_keys, experts);
  __syncwarp();  // all have read what becomes the chosen scores
}

// Fills ids and weights of `token`; for up to 32 * kTurns experts. The scores are read from L2: in
// L1 there may be older lines. `shared` is the warp's own.
template <int kTurns>
__device__ __forceinline__ void choose_experts(const RouteRows& a, int64_t token, float* shared) {
  const auto experts = static_cast<int>(a.experts), used = static_cast<int>(a.experts_used);
  const int lane = threadIdx.x % 32;
  float* const scores = shared;            // [experts]
  float* const chosen = shared + experts;  // [used]; before that keys
  uint32_t keys[kTurns];
  constexpr int kAtOnce = kTurns < 16 ? kTurns : 16;  // asked for before any is waited for
#pragma unroll
  for (int first = 0; first < kTurns; first += kAtOnce) {
    float logit[kAtOnce], bias[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int e = 32 * (first + i) + lane;
      logit[i] = e < experts ? __ldcg(a.scores + token * experts + e) : 0.0f;
      bias[i] = e < experts ? a.correction_bias[e] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int e = 32 * (first + i) + lane;
      const float score = 1.0f / (1.0f + expf(-logit[i]));
      if (e < experts) scores[e] = score;
      keys[first + i] = e < experts ? order_key(score + bias[i]) : kTaken;
    }
  }
  if (a.groups > 1) {
    auto* const expert_keys = reinterpret_cast<uint32_t*>(chosen);
    keep_best_groups(a, scores, expert_keys, expert_keys + experts, keys);
  }
  take_largest(keys, used);

  // What was taken, by ascending id.
  int32_t* ids = a.ids + token * used;
  float* weights = a.weights + token * used;
  int before = 0;
#pragma unroll
  for (int i = 0; i < kTurns; ++i) {
    const int e = 32 * i + lane;
    const bool taken = e < experts && keys[i] == kTaken;
    const unsigned votes = __ballot_sync(0xffffffffu, taken);
    if (taken) {
      const int at = before + __popc(votes & ((1u << lane) - 1));
      ids[at] = e;
      chosen[at] = scores[e];  // that this lane wrote
    }
    before += __popc(votes);
  }
  __syncwarp();  // the chosen scores are there
  float sum = 0;
  for (int i = 0; i < used; ++i) sum += chosen[i];
  for (int i = lane; i < used; i += 32) {
    float weight = chosen[i];
    if (a.normalize) weight = weight / (sum + 1e-20f);
    weights[i] = weight * a.scale;
  }
}

}  // namespace hlwq::cuda
