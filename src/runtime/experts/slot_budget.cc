#include "runtime/experts/slot_budget.h"

#include <algorithm>
#include <cmath>

#include "ops/expert_address.h"

namespace hlwq {
namespace {

// A layer keeps at least this part of an even share of the slots.
constexpr int64_t kLeastShare = 4;

// Experts that at least one of so many tokens chooses when every choice is as likely.
double experts_met(int64_t experts, int64_t used, int64_t tokens) {
  const double missed = 1.0 - static_cast<double>(used) / static_cast<double>(experts);
  return static_cast<double>(experts) * (1.0 - std::pow(missed, static_cast<double>(tokens)));
}

// Rounded down, also below zero.
int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

int64_t SlotBudget::most_slots() const { return std::min(layers * experts, kMostSlots); }

int64_t SlotBudget::bookkeeping_bytes() const {
  return bookkeeping_bytes_of({.layers = layers, .experts = experts, .slots = most_slots()});
}

int64_t SlotBudget::wanted_slots() const {
  const int64_t wanted =
      slots_per_layer > 0
          ? std::min(slots_per_layer, experts) * layers
          : floor_div(vram_bytes - used_bytes - later_bytes - bookkeeping_bytes(), slot_bytes);
  return std::min(wanted, most_slots());
}

int64_t SlotBudget::slots() const {
  return std::min(wanted_slots(),
                  floor_div(free_bytes - later_bytes - bookkeeping_bytes(), slot_bytes));
}

int64_t SlotBudget::bytes_for(int64_t count) const {
  return used_bytes + later_bytes + bookkeeping_bytes() + count * slot_bytes;
}

int64_t bookkeeping_bytes_of(const ExpertCacheShape& shape) {
  return lay_out_cache(shape, nullptr).bytes +
         shape.experts * static_cast<int64_t>(sizeof(ExpertAddress));
}

int64_t least_per_layer(int64_t slots, int64_t layers) { return slots / (kLeastShare * layers); }

bool is_streamed(int64_t layers, int64_t experts, int64_t used, int64_t tokens, int64_t slots) {
  return tokens > 1 && experts_met(experts, used, tokens) * static_cast<double>(layers) >
                           static_cast<double>(slots);
}

std::vector<int32_t> first_residents(const ExpertCacheShape& shape,
                                     const std::vector<float>& hotness) {
  std::vector<int32_t> keys(static_cast<size_t>(shape.keys()));
  // Experts 0 of all layers, experts 1, ...
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    keys[i] = static_cast<int32_t>(at % shape.layers * shape.experts + at / shape.layers);
  }
  if (!hotness.empty())
    std::stable_sort(keys.begin(), keys.end(), [&](int32_t a, int32_t b) {
      return hotness[static_cast<size_t>(a)] > hotness[static_cast<size_t>(b)];
    });
  keys.resize(static_cast<size_t>(std::min(shape.slots, shape.keys())));
  std::reverse(keys.begin(), keys.end());
  return keys;
}

}  // namespace hlwq
