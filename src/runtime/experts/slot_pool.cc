#include "runtime/experts/slot_pool.h"

#include <algorithm>
#include <utility>

namespace hlwq {
namespace {

constexpr int64_t kPieceBytes = int64_t{512} << 20;

}  // namespace

SlotPool SlotPool::allocate(Backend& backend, int64_t wanted, int64_t slot_bytes) {
  SlotPool pool;
  // After a refusal smaller pieces are tried: what is left may still hold some slots.
  for (int64_t piece = std::max<int64_t>(1, kPieceBytes / slot_bytes);
       piece > 0 && pool.size() < wanted;) {
    const int64_t slots = std::min(piece, wanted - pool.size());
    auto memory = backend.allocate(static_cast<size_t>(slots * slot_bytes), "expert slots");
    if (!memory) {
      piece = slots / 2;
      continue;
    }
    for (int64_t i = 0; i < slots; ++i) pool.slots_.push_back(memory->data() + i * slot_bytes);
    pool.pieces_.push_back(std::move(*memory));
  }
  return pool;
}

size_t SlotPool::bytes() const {
  size_t sum = 0;
  for (const Buffer& piece : pieces_) sum += piece.bytes();
  return sum;
}

}  // namespace hlwq
