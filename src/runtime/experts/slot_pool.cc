#include "runtime/experts/slot_pool.h"

#include <algorithm>
#include <utility>

namespace hlwq {
SlotPool SlotPool::allocate(Backend& backend, int64_t wanted, int64_t slot_bytes,
                            size_t piece_bytes) {
  SlotPool pool;
  constexpr int64_t kPieces = 16;
  const int64_t slots_of_piece = piece_bytes > 0 ? static_cast<int64_t>(piece_bytes) / slot_bytes
                                                 : (wanted + kPieces - 1) / kPieces;
  // After a refusal smaller pieces are tried: what is left may still hold some slots.
  for (int64_t piece = std::max<int64_t>(1, slots_of_piece); piece > 0 && pool.size() < wanted;) {
    const int64_t slots = std::min(piece, wanted - pool.size());
    auto memory = backend.allocate(static_cast<size_t>(slots * slot_bytes), "expert slots");
    if (!memory) {
      piece = slots / 2;
      continue;
    }
    pool.first_slots_.push_back(pool.size());
    for (int64_t i = 0; i < slots; ++i) pool.slots_.push_back(memory->data() + i * slot_bytes);
    pool.pieces_.push_back(std::move(*memory));
  }
  return pool;
}

bool SlotPool::next_follows(int64_t index) const {
  return index + 1 < size() &&
         !std::binary_search(first_slots_.begin(), first_slots_.end(), index + 1);
}

size_t SlotPool::drop_last(size_t bytes) {
  size_t dropped = 0;
  while (dropped < bytes && pieces_.size() > 1) {
    dropped += pieces_.back().bytes();
    pieces_.pop_back();
    slots_.resize(static_cast<size_t>(first_slots_.back()));
    first_slots_.pop_back();
  }
  return dropped;
}

size_t SlotPool::bytes() const {
  size_t sum = 0;
  for (const Buffer& piece : pieces_) sum += piece.bytes();
  return sum;
}

}  // namespace hlwq
