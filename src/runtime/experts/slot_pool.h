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
  // Up to `wanted` slots of `slot_bytes`: as many as the device gives, perhaps none.
  static SlotPool allocate(Backend& backend, int64_t wanted, int64_t slot_bytes);

  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(slots_.size()); }
  [[nodiscard]] std::byte* slot(int64_t index) const { return slots_[static_cast<size_t>(index)]; }
  [[nodiscard]] size_t bytes() const;

 private:
  std::vector<Buffer> pieces_;
  std::vector<std::byte*> slots_;
};

}  // namespace hlwq
