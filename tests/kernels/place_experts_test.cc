// The choice of expert slots: every back end makes the moves of the host's version, call by call.

#include <gtest/gtest.h>

#include <cstring>

#include "kernels/backends.h"
#include "tests/kernels/backends_under_test.h"
#include "tests/ops/expert_cache_support.h"

namespace hlwq::test {
namespace {

class PlaceExperts : public BackendTest {};

// The same expert in the same places of the two caches' memory.
void expect_same_address(const TestCache& got, const std::byte* a, const TestCache& want,
                         const std::byte* b) {
  const ExpertCacheShape& shape = want.cache().shape;
  const bool in_slot =
      b >= want.slot_memory() && b < want.slot_memory() + shape.slots * TestCache::kRecordBytes;
  EXPECT_EQ(a - (in_slot ? got.slot_memory() : got.home()),
            b - (in_slot ? want.slot_memory() : want.home()));
}

void expect_same(const TestCache& got, const TestCache& want, int64_t layer,
                 const std::vector<int32_t>& ids) {
  const ExpertCache &g = got.cache(), &w = want.cache();
  const ExpertCacheShape& shape = w.shape;
  for (int64_t s = 0; s < shape.slots; ++s) {
    EXPECT_EQ(g.slots[s].key, w.slots[s].key) << "slot " << s;
    EXPECT_EQ(g.slots[s].filled, w.slots[s].filled);
  }
  for (int64_t key = 0; key < shape.keys(); ++key) {
    EXPECT_EQ(g.slot_of[key], w.slot_of[key]);
    EXPECT_EQ(g.uses[key].last, w.uses[key].last);
    EXPECT_EQ(g.uses[key].weight, w.uses[key].weight);
  }
  for (int64_t l = 0; l < shape.layers; ++l) {
    EXPECT_EQ(g.held[l], w.held[l]);
    EXPECT_EQ(g.steps[l], w.steps[l]);
    EXPECT_EQ(g.counts[l].hits, w.counts[l].hits);
    EXPECT_EQ(g.counts[l].misses, w.counts[l].misses);
    EXPECT_EQ(g.counts[l].in_place, w.counts[l].in_place);
  }
  for (const int32_t id : ids) {
    const auto e = static_cast<size_t>(id);
    expect_same_address(got, got.table()[e].up, want, want.table()[e].up);
    expect_same_address(got, got.table()[e].down, want, want.table()[e].down);
    EXPECT_EQ(TestCache::record_at(got.table()[e].up), layer * shape.experts + id);
  }
}

TEST_P(PlaceExperts, MakesTheMovesOfTheHost) {
  const auto backend = make({});
  for (const CachePolicy policy :
       {CachePolicy::kLru, CachePolicy::kLfru, CachePolicy::kFifo, CachePolicy::kFrecency}) {
    for (const ExpertCacheShape& shape :
         {ExpertCacheShape{.layers = 3, .experts = 20, .slots = 12, .least_per_layer = 2},
          ExpertCacheShape{.layers = 1, .experts = 7, .slots = 1},
          ExpertCacheShape{.layers = 2, .experts = 300, .slots = 560, .least_per_layer = 30},
          ExpertCacheShape{.layers = 4, .experts = 600, .slots = 1300, .least_per_layer = 81}}) {
      ExpertCacheShape with_policy = shape;
      with_policy.policy = policy;
      TestCache want(with_policy), got(with_policy, allocate_shared);
      const Buffer memory = *allocate_shared(4096 * sizeof(int32_t), "ids");
      auto* const shared_ids = memory.as<int32_t>().data();
      for (uint64_t call = 0; call < 40; ++call) {
        const auto layer = static_cast<int64_t>(call * 7 / 3 % static_cast<uint64_t>(shape.layers));
        const uint64_t most = static_cast<uint64_t>(shape.experts) * 2;
        const std::vector<int32_t> ids =
            random_choices(call, shape.experts, call % 5 == 4 ? most : 1 + call % 9);
        std::memcpy(shared_ids, ids.data(), ids.size() * sizeof(int32_t));
        want.place(layer, ids);
        backend->place_experts({.cache = got.cache(),
                                .layer = layer,
                                .ids = shared_ids,
                                .choices = static_cast<int64_t>(ids.size()),
                                .table = got.table().data()});
        expect_same(got, want, layer, ids);
        got.check_consistent();
        if (HasFailure()) return;
      }
    }
  }
}

HLWQ_ON_EVERY_BACKEND(PlaceExperts);

}  // namespace
}  // namespace hlwq::test
