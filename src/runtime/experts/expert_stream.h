#pragma once
// Steps that touch more experts than a cache should take in: prompts, large batches. The host reads
// which experts a layer's tokens chose; those in slots are multiplied where they lie, the others
// are copied in parts through two buffers, one part on its way while the one before is multiplied.
// When nearly every expert gets tokens, the next layer's first parts are on their way before its
// router has spoken, while the layers in between run.

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "ops/backend.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/host_worker.h"
#include "runtime/experts/slot_pool.h"

namespace hlwq {

class ExpertStream {
 public:
  // The buffers are the pool's first slots: a streamed step empties them, the cache fills them
  // again. `cache` lies on the device; `table` there too, [experts]. All must outlive this.
  // `worker`: the host's part, or null.
  ExpertStream(Backend& backend, ExpertStore& store, const SlotPool& slots,
               const ExpertCache& cache, ExpertAddress* table, HostWorker* worker);

  // The experts op of a layer. Layers come in order, from 0 for each step. Waits for the device.
  // Errors: as ExpertStore::copy.
  [[nodiscard]] Status run(int64_t layer, const ExpertsArgs& args);

  // What was found since, by layer.
  [[nodiscard]] std::span<ExpertCounts> counts() { return counts_; }

 private:
  // Some adjacent experts, and those of them that have to be copied, to a buffer one after the
  // other.
  struct Part {
    int64_t first = 0, last = 0;
    size_t buffer = 0;
    std::vector<int32_t> copied;
    bool under_way = false;  // their copies have been started
  };

  void count_choices(const ExpertsArgs& args);
  // Leaves some of the experts that are in no slot to the host.
  void hand_over(int64_t layer, const ExpertsArgs& args);
  // What the layer before took says how fast the bus is, unless the host was slower.
  void note_times(bool first);
  // Sizes the buffers by the pool, which may have become smaller, reads where experts are, and
  // takes the buffers' slots out of the cache.
  void start_step();
  [[nodiscard]] Part& add_part(std::vector<Part>& parts, size_t first);
  [[nodiscard]] bool in_slot(int64_t layer, size_t expert) const;
  [[nodiscard]] int64_t slot_index(const Part& part, size_t index) const;
  [[nodiscard]] std::byte* buffer_slot(const Part& part, size_t index) const;
  // The layer's experts in parts, what was copied ahead first; where each lies goes to addresses_.
  void cut(int64_t layer);
  [[nodiscard]] Status start_copies(int64_t layer, const Part& part);
  // Starts the copies of the layer's first experts, as many as the buffers hold.
  [[nodiscard]] Status copy_ahead(int64_t layer);

  Backend& backend_;
  ExpertStore& store_;
  const SlotPool& slots_;
  ExpertCache cache_;
  ExpertAddress* table_;
  int64_t part_slots_ = 0;  // of a buffer
  size_t buffers_ = 0;      // two, or one when the pool is a single slot
  size_t next_buffer_ = 0;  // they take turns, from layer to layer too

  HostWorker* worker_;

  std::vector<int32_t> ids_, choices_, slot_of_;
  std::vector<int32_t> missing_;
  std::vector<uint8_t> handed_over_;  // [experts]
  std::vector<ExpertAddress> addresses_;
  std::vector<Part> parts_, ahead_;  // of the layer at hand, of the one after it
  std::vector<ExpertCounts> counts_;

  // Of the layer before: when its router had spoken, when the host had nothing more to do for it,
  // records that were copied.
  using Clock = std::chrono::steady_clock;
  Clock::time_point begun_, given_;
  int64_t copied_records_ = 0;
};

}  // namespace hlwq
