#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace hlwq {

// A hash map from 64-bit keys, open addressing with linear probing, at most half full. The key
// with all bits set is not allowed.
template <typename Value>
class FlatMap {
 public:
  FlatMap() : FlatMap(0) {}
  // Sized so that `entries` entries need no rehash.
  explicit FlatMap(size_t entries) : slots_(std::bit_ceil(entries * 2 + 2)) {}

  // Inserts or overwrites.
  void set(uint64_t key, const Value& value) {
    if ((used_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = slots_[slot_of(key)];
    if (slot.key == kNoKey) ++used_;
    slot = {key, value};
  }

  [[nodiscard]] const Value* find(uint64_t key) const {
    const Slot& slot = slots_[slot_of(key)];
    return slot.key == kNoKey ? nullptr : &slot.value;
  }

 private:
  static constexpr uint64_t kNoKey = ~uint64_t{0};
  struct Slot {
    uint64_t key = kNoKey;
    Value value{};
  };

  // Where `key` is, or the empty slot where it would go.
  [[nodiscard]] size_t slot_of(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    size_t i = random_bits(key, 0) & mask;
    while (slots_[i].key != key && slots_[i].key != kNoKey) i = (i + 1) & mask;
    return i;
  }

  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key != kNoKey) slots_[slot_of(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
};

}  // namespace hlwq
