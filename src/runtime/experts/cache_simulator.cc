#include "runtime/experts/cache_simulator.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "runtime/experts/slot_budget.h"

namespace hlwq {
namespace {

// Arrays of a cache on the host. Its records are nowhere: addresses are only told apart.
class HostCache {
 public:
  explicit HostCache(const ExpertCacheShape& shape)
      : state_(static_cast<size_t>(lay_out_cache(shape, nullptr).bytes) / sizeof(Word) + 1),
        table_(static_cast<size_t>(shape.experts)),
        needed_(static_cast<size_t>(shape.experts)) {
    cache_ = lay_out_cache(shape, reinterpret_cast<std::byte*>(state_.data())).cache;
    std::fill_n(cache_.slots, shape.slots, ExpertSlot{});
    std::fill_n(cache_.slot_of, shape.keys(), -1);
    for (int64_t s = 0; s < shape.slots; ++s) cache_.slot_data[s] = state_bytes() + s;
    for (int64_t key = 0; key < shape.keys(); ++key) cache_.home[key] = state_bytes() + key;
    const std::vector<int32_t> residents = first_residents(shape, {});
    for (size_t s = 0; s < residents.size(); ++s) {
      cache_.slots[s].key = residents[s];
      cache_.slot_of[residents[s]] = static_cast<int32_t>(s);
      ++cache_.held[residents[s] / shape.experts];
    }
  }

  // Returns the misses.
  int64_t place(int64_t layer, std::span<const int32_t> ids, std::span<const int32_t> shares) {
    const uint64_t before = cache_.counts[layer].misses;
    place_experts_on_host(cache_, layer, ids.data(), static_cast<int64_t>(ids.size()),
                          shares.empty() ? nullptr : shares.data(), table_.data(), needed_.data());
    return static_cast<int64_t>(cache_.counts[layer].misses - before);
  }
  [[nodiscard]] CacheFigures figures() const {
    CacheFigures sum;
    for (int64_t layer = 0; layer < cache_.shape.layers; ++layer) {
      sum.hits += static_cast<int64_t>(cache_.counts[layer].hits);
      sum.misses += static_cast<int64_t>(cache_.counts[layer].misses);
      sum.on_host += static_cast<int64_t>(cache_.counts[layer].on_host);
    }
    return sum;
  }

 private:
  struct alignas(16) Word {
    std::byte bytes[16] = {};
  };
  [[nodiscard]] std::byte* state_bytes() { return reinterpret_cast<std::byte*>(state_.data()); }

  std::vector<Word> state_;
  std::vector<ExpertAddress> table_;
  std::vector<uint8_t> needed_;
  ExpertCache cache_;
};

std::vector<int32_t> widened(std::span<const uint16_t> ids) { return {ids.begin(), ids.end()}; }

// The keys of a step's layers after the warm-up, one after the other, each once a layer.
std::vector<int32_t> requests_of(const Routing& routing, int64_t warm_up) {
  std::vector<int32_t> requests, ids;
  for (int64_t step = warm_up; step < routing.steps; ++step)
    for (int64_t layer = 0; layer < routing.shape.layers; ++layer) {
      ids = widened(routing.of(step, layer));
      std::sort(ids.begin(), ids.end());
      ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
      for (const int32_t id : ids)
        requests.push_back(static_cast<int32_t>(layer * routing.shape.experts) + id);
    }
  return requests;
}

// `used` different experts, each set as likely.
void draw_choices(const RoutingShape& shape, uint64_t seed, uint64_t& counter,
                  std::vector<uint16_t>& all, uint16_t* out) {
  const auto experts = static_cast<size_t>(shape.experts), used = static_cast<size_t>(shape.used);
  for (size_t i = 0; i < used; ++i) {
    const size_t j = i + random_bits(seed, counter++) % (experts - i);
    std::swap(all[i], all[j]);
  }
  std::copy_n(all.begin(), used, out);
  std::sort(out, out + used);
}

}  // namespace

std::span<const uint16_t> Routing::of(int64_t step, int64_t layer) const {
  const auto choices = static_cast<size_t>(batch * shape.used);
  return std::span(ids).subspan(static_cast<size_t>(step * shape.layers + layer) * choices,
                                choices);
}

Result<Routing> routing_of(const RoutingTrace& trace, int64_t batch, int64_t most_steps) {
  HLWQ_CHECK(batch >= 1 && most_steps >= 1);
  const RoutingShape& shape = trace.shape;
  const auto used = static_cast<size_t>(shape.used);
  // Where each traced token's choices of layer 0 are, and how far it is to those of the next layer;
  // a sequence is at the same place of all steps of a run of one batch.
  struct Token {
    size_t at, stride;
  };
  std::vector<Token> tokens;
  std::vector<const RoutingStep*> run;
  const auto end_run = [&] {
    const int64_t side_by_side = run.empty() ? 0 : run.front()->tokens;
    for (int64_t t = 0; t < side_by_side; ++t)
      for (const RoutingStep* step : run)
        tokens.push_back({step->first + static_cast<size_t>(t) * used,
                          static_cast<size_t>(step->tokens) * used});
    run.clear();
  };
  for (const RoutingStep& step : trace.steps) {
    if (step.prompt || (!run.empty() && run.front()->tokens != step.tokens)) end_run();
    if (!step.prompt) run.push_back(&step);
  }
  end_run();

  const int64_t traced = static_cast<int64_t>(tokens.size()) / batch;
  if (traced == 0)
    return fail(ErrorCode::kInvalidArgument, "the trace has " + std::to_string(tokens.size()) +
                                                 " decoded tokens, wanted " +
                                                 std::to_string(batch) + " or more");
  Routing routing{.shape = shape, .batch = batch, .steps = std::min(traced, most_steps), .ids = {}};
  routing.ids.reserve(static_cast<size_t>(routing.steps * shape.layers * batch) * used);
  for (int64_t step = traced - routing.steps; step < traced; ++step)
    for (int64_t layer = 0; layer < shape.layers; ++layer)
      for (int64_t part = 0; part < batch; ++part) {
        const Token& token = tokens[static_cast<size_t>(part * traced + step)];
        const auto choices =
            trace.ids.begin() +
            static_cast<ptrdiff_t>(token.at + static_cast<size_t>(layer) * token.stride);
        routing.ids.insert(routing.ids.end(), choices, choices + static_cast<ptrdiff_t>(used));
      }
  return routing;
}

Routing even_routing(const RoutingShape& shape, int64_t batch, int64_t steps, uint64_t seed) {
  HLWQ_CHECK(shape.used >= 1 && shape.used <= shape.experts && shape.experts <= kMostExpertKeys);
  Routing routing{.shape = shape, .batch = batch, .steps = steps, .ids = {}};
  routing.ids.resize(static_cast<size_t>(steps * shape.layers * batch * shape.used));
  std::vector<uint16_t> all(static_cast<size_t>(shape.experts));
  std::iota(all.begin(), all.end(), uint16_t{0});
  uint64_t counter = 0;
  for (size_t at = 0; at < routing.ids.size(); at += static_cast<size_t>(shape.used))
    draw_choices(shape, seed, counter, all, &routing.ids[at]);
  return routing;
}

int64_t warm_up_steps(const RoutingShape& shape) {
  // All but e^-6 of them, were every choice as likely.
  return std::clamp<int64_t>(6 * shape.experts / shape.used, 16, 1024);
}

double CacheFigures::hit_rate() const {
  const int64_t all = hits + misses;
  return all == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(all);
}

double CacheFigures::misses_per_step() const {
  return steps == 0 ? 0.0 : static_cast<double>(misses) / static_cast<double>(steps);
}

CacheFigures simulate_cache(const Routing& routing, int64_t slots, CachePolicy policy,
                            int64_t warm_up, std::span<const int32_t> shares) {
  const RoutingShape& shape = routing.shape;
  HLWQ_CHECK(slots >= 1 && warm_up >= 0);
  HostCache cache({.layers = shape.layers,
                   .experts = shape.experts,
                   .slots = slots,
                   .least_per_layer = least_per_layer(slots, shape.layers),
                   .policy = policy});
  CacheFigures before;
  std::vector<int64_t> layers_with(static_cast<size_t>(shape.experts) + 1);
  for (int64_t step = 0; step < routing.steps; ++step) {
    if (step == warm_up) before = cache.figures();
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      const int64_t misses = cache.place(layer, widened(routing.of(step, layer)), shares);
      if (step >= warm_up) ++layers_with[static_cast<size_t>(misses)];
    }
  }
  if (warm_up >= routing.steps) return {};
  const CacheFigures all = cache.figures();
  return {.steps = routing.steps - warm_up,
          .hits = all.hits - before.hits,
          .misses = all.misses - before.misses,
          .on_host = all.on_host - before.on_host,
          .layers_with = std::move(layers_with)};
}

CacheFigures simulate_optimum(const Routing& routing, int64_t slots, int64_t warm_up) {
  HLWQ_CHECK(slots >= 1 && warm_up >= 0);
  if (warm_up >= routing.steps) return {};
  const std::vector<int32_t> requests = requests_of(routing, warm_up);
  const auto keys = static_cast<size_t>(routing.shape.layers * routing.shape.experts);
  constexpr size_t kNever = std::numeric_limits<size_t>::max();
  std::vector<size_t> next(requests.size()), next_of_key(keys, kNever);
  for (size_t i = requests.size(); i-- > 0;) {
    size_t& after = next_of_key[static_cast<size_t>(requests[i])];
    next[i] = after;
    after = i;
  }
  // What is kept, by when it is used next. It starts with what is used first.
  std::set<std::pair<size_t, int32_t>> kept;
  std::vector<bool> is_kept(keys);
  const auto keep = [&](size_t use, int32_t key) {
    if (use == kNever) return;
    kept.emplace(use, key);
    is_kept[static_cast<size_t>(key)] = true;
    if (static_cast<int64_t>(kept.size()) <= slots) return;
    const auto last = std::prev(kept.end());
    is_kept[static_cast<size_t>(last->second)] = false;
    kept.erase(last);
  };
  for (size_t key = 0; key < keys; ++key) keep(next_of_key[key], static_cast<int32_t>(key));

  CacheFigures figures{.steps = routing.steps - warm_up};
  for (size_t i = 0; i < requests.size(); ++i) {
    const int32_t key = requests[i];
    const bool hit = is_kept[static_cast<size_t>(key)];
    ++(hit ? figures.hits : figures.misses);
    if (hit) {
      kept.erase({i, key});
      is_kept[static_cast<size_t>(key)] = false;
    }
    keep(next[i], key);
  }
  return figures;
}

std::vector<CachePoint> simulate_curve(const Routing& routing, std::span<const int64_t> slots,
                                       CachePolicy policy, int64_t warm_up) {
  std::vector<CachePoint> curve;
  for (const int64_t count : slots)
    curve.push_back({.slots = count,
                     .policy = simulate_cache(routing, count, policy, warm_up),
                     .optimum = simulate_optimum(routing, count, warm_up)});
  return curve;
}

}  // namespace hlwq
