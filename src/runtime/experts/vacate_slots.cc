#include "runtime/experts/vacate_slots.h"

#include <vector>

namespace hlwq {
namespace {

template <typename T>
std::vector<T> downloaded(Backend& backend, const T* from, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  backend.download(values.data(), from, values.size() * sizeof(T));
  return values;
}

}  // namespace

void vacate_slots(Backend& backend, const ExpertCache& cache, int64_t first, int64_t last,
                  int32_t key) {
  const ExpertCacheShape& shape = cache.shape;
  std::vector<ExpertSlot> slots = downloaded(backend, cache.slots + first, last - first);
  bool held_any = false, changed = false;
  for (const ExpertSlot& slot : slots) {
    held_any = held_any || slot.key >= 0;
    changed = changed || slot.key != key;
  }
  if (held_any) {
    std::vector<int32_t> slot_of = downloaded(backend, cache.slot_of, shape.keys());
    std::vector<int32_t> held = downloaded(backend, cache.held, shape.layers);
    for (const ExpertSlot& slot : slots) {
      if (slot.key < 0) continue;
      slot_of[static_cast<size_t>(slot.key)] = -1;
      --held[static_cast<size_t>(slot.key / shape.experts)];
    }
    backend.upload(cache.slot_of, slot_of.data(), slot_of.size() * sizeof(int32_t));
    backend.upload(cache.held, held.data(), held.size() * sizeof(int32_t));
  }
  if (!changed) return;
  for (ExpertSlot& slot : slots) slot = {.key = key};
  backend.upload(cache.slots + first, slots.data(), slots.size() * sizeof(ExpertSlot));
}

}  // namespace hlwq
