#pragma once
// Steps that touch more experts than a cache should take in: prompts, large batches. The host reads
// which experts a layer's tokens chose; those in slots are multiplied where they lie, the others
// are copied in parts through two buffers, one part on its way while the one before is multiplied.

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/backend.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/slot_pool.h"

namespace hlwq {

class ExpertStream {
 public:
  // The buffers are the pool's first slots: a streamed step empties them, the cache fills them
  // again. `cache` lies on the device; `table` there too, [experts]. All must outlive this.
  ExpertStream(Backend& backend, const ExpertStore& store, const SlotPool& slots,
               const ExpertCache& cache, ExpertAddress* table);

  // The experts op of a layer. Layers come in order, from 0 for each step. Waits for the device.
  [[nodiscard]] Status run(int64_t layer, const ExpertsArgs& args);

  // What was found since, by layer.
  [[nodiscard]] std::span<ExpertCounts> counts() { return counts_; }

 private:
  // Some adjacent experts, and those of them that have to be copied, to a buffer one after the
  // other.
  struct Part {
    int64_t first = 0, last = 0;
    std::vector<int32_t> copied;
  };

  void count_choices(const ExpertsArgs& args);
  // Reads where experts are, and takes the buffers' slots out of the cache.
  void start_step();
  void cut(int64_t layer);
  [[nodiscard]] std::byte* buffer_slot(size_t part, size_t index) const;

  Backend& backend_;
  const ExpertStore& store_;
  const SlotPool& slots_;
  ExpertCache cache_;
  ExpertAddress* table_;
  int64_t part_slots_ = 0;  // of a buffer
  size_t buffers_ = 0;      // two, or one when the pool is a single slot

  std::vector<int32_t> ids_, choices_, slot_of_;
  std::vector<ExpertAddress> addresses_;
  std::vector<Part> parts_;
  std::vector<ExpertCounts> counts_;
};

}  // namespace hlwq
