#pragma once
// Device memory for experts: slots of one size, in pieces, so that a device that refuses some of it
// still gives the rest.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/backend.h"
#include "tensor/buffer.h"

namespace hlwq {

class SlotPool {
 public:
  // Up to `wanted` slots of `slot_bytes`, as many together as `piece_bytes` hold (0: a sixteenth of
  // them, since each piece costs a driver something): as many as the device gives, perhaps none.
  static SlotPool allocate(Backend& backend, int64_t wanted, int64_t slot_bytes,
                           size_t piece_bytes = 0);

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(slots_.size()); }
  [[nodiscard]] std::byte* slot(int64_t index) const { return slots_[static_cast<size_t>(index)]; }
  // Whether the next slot follows this one in the same piece: pieces may touch by chance, but no
  // copy goes over the edge of one.
  [[nodiscard]] bool next_follows(int64_t index) const;
  [[nodiscard]] size_t bytes() const;

  // Frees the last slots, a piece of memory at a time but never the first piece, until `bytes` or
  // more are free; returns how much that was. Nothing may be using them.
  size_t drop_last(size_t bytes);

 private:
  std::vector<Buffer> pieces_;
  std::vector<int64_t> first_slots_;  // of each piece
  std::vector<std::byte*> slots_;
};

}  // namespace hlwq
