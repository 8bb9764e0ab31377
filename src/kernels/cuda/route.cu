// route.cu: each token's experts and their weights from the scores of the gate.
// Math    s = 1 / (1 + exp(-score)); of the groups with the largest sum of their two largest s +
// bias
//         the experts with the largest s + bias; weights s (/ (their sum + 1e-20)) * scale. The
//         lower index wins ties, NaN counts as minus infinity. Sums run over ascending ids
// Shapes  scores f32[tokens][experts], bias f32[experts] -> ids i32, weights f32 [tokens][used]
// Bytes   4 * experts + 8 * used a token
// Floor   a launch; then the steps of the choice, one after the other: 6 of 128 about 0.5 us
// Method  a warp a token. Values become integers that order alike, so that one warp maximum and one
//         minimum of the indices that reach it make a step of the choice

#include "base/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/order_key.cuh"
#include "kernels/cuda/route.h"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 4;
constexpr unsigned kAll = 0xffffffffu;
constexpr uint32_t kTaken = 0;  // not the key of any value, and below them

// Takes the `count` largest of keys[0, size), the lower index among equals: they become kTaken.
__device__ __forceinline__ void take_largest(uint32_t* keys, int size, int count) {
  const int lane = threadIdx.x % 32;
  for (int n = 0; n < count; ++n) {
    uint32_t best = kTaken;
    int at = 0;
    for (int i = lane; i < size; i += 32) {
      const uint32_t key = keys[i];
      if (key > best) {  // strictly: the lane's lowest index stays
        best = key;
        at = i;
      }
    }
    const uint32_t most = __reduce_max_sync(kAll, best);
    const auto winner = static_cast<int>(
        __reduce_min_sync(kAll, best == most ? static_cast<unsigned>(at) : 0xffffffffu));
    if (winner == at && best == most) keys[at] = kTaken;  // read again by this lane alone
  }
  __syncwarp();  // what was taken is seen by every lane
}

// The sum of the two largest corrected scores of a group (one, when the group is one expert), NaN
// left out.
__device__ __forceinline__ float group_score(const float* scores, const float* bias, int size) {
  float best = -INFINITY, second = -INFINITY;
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

// Shared memory of a warp: scores f32[experts], keys u32[experts], group keys u32[groups].
__global__ void __launch_bounds__(kWarps * 32) route_tokens(const RouteRows a) {
  extern __shared__ float shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  const auto experts = static_cast<int>(a.experts), groups = static_cast<int>(a.groups);
  const auto used = static_cast<int>(a.experts_used);
  float* scores = shared + warp * (2 * experts + groups);
  auto* keys = reinterpret_cast<uint32_t*>(scores + experts);
  uint32_t* group_keys = keys + experts;
  let_next_start();
  wait_for_inputs();
  const int64_t token = static_cast<int64_t>(blockIdx.x) * warps + warp;
  if (token >= a.tokens) return;

  for (int e = lane; e < experts; e += 32) {
    const float score = 1.0f / (1.0f + expf(-a.scores[token * experts + e]));
    scores[e] = score;
    keys[e] = order_key(score + a.correction_bias[e]);
  }
  __syncwarp();  // all scores and keys of the token are there
  if (groups > 1) {
    const int size = experts / groups;
    for (int g = lane; g < groups; g += 32)
      group_keys[g] = order_key(group_score(scores + g * size, a.correction_bias + g * size, size));
    __syncwarp();  // all group keys are there
    take_largest(group_keys, groups, static_cast<int>(a.groups_used));
    for (int e = lane; e < experts; e += 32)
      if (group_keys[e / size] != kTaken) keys[e] = kLowestKey;
    __syncwarp();  // experts of other groups are out
  }
  take_largest(keys, experts, used);

  // What was taken, by ascending id. The keys' memory then holds the chosen scores.
  int32_t* ids = a.ids + token * used;
  float* weights = a.weights + token * used;
  auto* chosen = reinterpret_cast<float*>(keys);
  int before = 0;
  for (int first = 0; first < experts; first += 32) {
    const int e = first + lane;
    const bool taken = e < experts && keys[e] == kTaken;
    const unsigned votes = __ballot_sync(kAll, taken);
    const int at = before + __popc(votes & ((1u << lane) - 1));
    // Place `at` is at or before expert e, whose key has been read (by every lane: the vote).
    if (taken) {
      ids[at] = e;
      chosen[at] = scores[e];
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

}  // namespace

void route_rows(const RouteRows& args, cudaStream_t stream) {
  if (args.tokens == 0) return;
  HLWQ_CHECK(args.experts <= kMostRoutedExperts && args.groups <= args.experts);
  const size_t warp_bytes = static_cast<size_t>(2 * args.experts + args.groups) * sizeof(float);
  // As many tokens a CTA as fit the shared memory that needs no asking for.
  int64_t warps = args.tokens < kWarps ? args.tokens : kWarps;
  while (warps > 1 && static_cast<size_t>(warps) * warp_bytes > 48 * 1024) --warps;
  launch(route_tokens,
         {.grid = static_cast<unsigned>((args.tokens + warps - 1) / warps),
          .block = static_cast<unsigned>(warps * 32),
          .shared_bytes = static_cast<size_t>(warps) * warp_bytes,
          .stream = stream},
         args);
}

}  // namespace hlwq::cuda
