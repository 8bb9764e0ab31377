#pragma once
// What a cache of experts would have found, without a device or weights: the policies' own code
// (place_experts_on_host) on routing that was traced, or drawn evenly, and the best that any policy
// could have done with it.

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/expert_cache.h"
#include "runtime/experts/routing_trace.h"

namespace hlwq {

// Decode steps of sequences side by side.
struct Routing {
  RoutingShape shape;
  int64_t batch = 1;  // tokens of a step
  int64_t steps = 0;
  std::vector<uint16_t> ids;  // [steps][layers][batch][used], ascending within a token

  // [batch * used] choices of a layer in a step.
  [[nodiscard]] std::span<const uint16_t> of(int64_t step, int64_t layer) const;
};

// The decode steps of a trace, as steps of `batch` sequences whatever they were then: the traced
// tokens, sequence after sequence, are cut into that many parts, which run side by side. Of a long
// trace the last `most_steps`. Errors: kInvalidArgument (not one such step).
[[nodiscard]] Result<Routing> routing_of(const RoutingTrace& trace, int64_t batch,
                                         int64_t most_steps);
// Every set of experts as likely. The same seed gives the same routing.
[[nodiscard]] Routing even_routing(const RoutingShape& shape, int64_t batch, int64_t steps,
                                   uint64_t seed);

// Steps that a cache should have seen before it is judged: most experts have been chosen by then.
[[nodiscard]] int64_t warm_up_steps(const RoutingShape& shape);

struct CacheFigures {
  int64_t steps = 0;             // after the warm-up
  int64_t hits = 0, misses = 0;  // in them; an expert of a layer counts once a step
  int64_t on_host = 0;           // of the misses
  // How often a layer of a step had m of them; of simulate_cache alone.
  std::vector<int64_t> layers_with = {};

  [[nodiscard]] double hit_rate() const;  // 1 when nothing was asked for
  [[nodiscard]] double misses_per_step() const;
};

// One pool of `slots` for all layers, which begins with the first experts of every layer; the first
// `warm_up` steps are not counted. `slots`, here and below: at least 1. `shares` as ExpertMail's;
// empty: the host multiplies none.
[[nodiscard]] CacheFigures simulate_cache(const Routing& routing, int64_t slots, CachePolicy policy,
                                          int64_t warm_up, std::span<const int32_t> shares = {});
// An upper bound of every policy's hits after the same warm-up: keeps what is used again soonest
// (Belady 1966), also of what it starts with, and need not keep what it just read.
[[nodiscard]] CacheFigures simulate_optimum(const Routing& routing, int64_t slots, int64_t warm_up);

struct CachePoint {
  int64_t slots = 0;
  CacheFigures policy, optimum;
};
[[nodiscard]] std::vector<CachePoint> simulate_curve(const Routing& routing,
                                                     std::span<const int64_t> slots,
                                                     CachePolicy policy, int64_t warm_up);

}  // namespace hlwq
