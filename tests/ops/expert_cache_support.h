#pragma once
// An expert cache on the host whose records say which expert they are.

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <span>
#include <vector>

#include "base/random.h"
#include "ops/expert_cache.h"
#include "tensor/buffer.h"

namespace hlwq::test {

// `count` ids below `experts`, some of them twice.
inline std::vector<int32_t> random_choices(uint64_t seed, int64_t experts, uint64_t count) {
  std::vector<int32_t> ids;
  for (uint64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>(random_bits(seed, i) % static_cast<uint64_t>(experts)));
  return ids;
}

class TestCache {
 public:
  static constexpr int64_t kRecordBytes = 64;

  using Allocate = Result<Buffer> (*)(size_t bytes, std::string_view what);

  explicit TestCache(const ExpertCacheShape& shape, Allocate allocate = allocate_host)
      : state_(*allocate(static_cast<size_t>(lay_out_cache(shape, nullptr).bytes), "test")),
        home_(*allocate(static_cast<size_t>(shape.keys() * kRecordBytes), "test")),
        slots_(*allocate(static_cast<size_t>(shape.slots * kRecordBytes), "test")),
        table_memory_(
            *allocate(static_cast<size_t>(shape.experts) * sizeof(ExpertAddress), "test")),
        needed_(static_cast<size_t>(shape.experts)) {
    cache_ = lay_out_cache(shape, state_.data()).cache;
    for (int64_t s = 0; s < shape.slots; ++s) {
      cache_.slots[s] = {};
      cache_.slot_data[s] = slots_.data() + s * kRecordBytes;
    }
    for (int64_t layer = 0; layer < shape.layers; ++layer)
      cache_.records[layer] = {.bytes = kRecordBytes, .down_offset = 16 + 16 * (layer % 2)};
    for (int32_t key = 0; key < shape.keys(); ++key) {
      cache_.slot_of[key] = -1;
      std::byte* const record = home_.data() + key * kRecordBytes;
      std::memcpy(record, &key, sizeof key);
      cache_.home[key] = record;
    }
  }

  // `shares` of the host, or null.
  void place(int64_t layer, const std::vector<int32_t>& ids, const int32_t* shares = nullptr) {
    place_experts_on_host(cache_, layer, ids.data(), static_cast<int64_t>(ids.size()), shares,
                          table().data(), needed_.data());
    for (int32_t i = 0; i < *cache_.copy_count; ++i)
      std::memcpy(cache_.copies[i].to, cache_.copies[i].from, kRecordBytes);
  }

  [[nodiscard]] const ExpertCache& cache() const { return cache_; }
  [[nodiscard]] std::span<ExpertAddress> table() const { return table_memory_.as<ExpertAddress>(); }
  [[nodiscard]] const std::byte* home() const { return home_.data(); }
  [[nodiscard]] const std::byte* slot_memory() const { return slots_.data(); }
  [[nodiscard]] static int32_t record_at(const std::byte* record) {
    int32_t key = 0;
    std::memcpy(&key, record, sizeof key);
    return key;
  }
  [[nodiscard]] std::set<int32_t> residents() const {
    std::set<int32_t> keys;
    for (int64_t s = 0; s < cache_.shape.slots; ++s)
      if (cache_.slots[s].key >= 0) keys.insert(cache_.slots[s].key);
    return keys;
  }
  [[nodiscard]] ExpertCounts counts() const {
    ExpertCounts sum;
    for (int64_t layer = 0; layer < cache_.shape.layers; ++layer) {
      sum.hits += cache_.counts[layer].hits;
      sum.misses += cache_.counts[layer].misses;
      sum.in_place += cache_.counts[layer].in_place;
    }
    return sum;
  }
  // Slots and map say the same, each slot holds what it says, the layers' counts are right.
  void check_consistent() const {
    std::vector<int32_t> held(static_cast<size_t>(cache_.shape.layers));
    int64_t mapped = 0;
    for (int32_t key = 0; key < cache_.shape.keys(); ++key) {
      const int32_t slot = cache_.slot_of[key];
      if (slot < 0) continue;
      ++mapped;
      ++held[static_cast<size_t>(key / cache_.shape.experts)];
      ASSERT_LT(slot, cache_.shape.slots);
      EXPECT_EQ(cache_.slots[slot].key, key);
      EXPECT_EQ(record_at(cache_.slot_data[slot]), key);
    }
    EXPECT_EQ(mapped, static_cast<int64_t>(residents().size()));
    for (int64_t layer = 0; layer < cache_.shape.layers; ++layer)
      EXPECT_EQ(cache_.held[layer], held[static_cast<size_t>(layer)]);
  }

 private:
  Buffer state_, home_, slots_, table_memory_;
  std::vector<uint8_t> needed_;
  ExpertCache cache_;
};

}  // namespace hlwq::test
