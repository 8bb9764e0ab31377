#pragma once
// Arrays one after the other in memory that host and device share or copy as a whole.

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace hlwq {

class ArrayLayout {
 public:
  // Arrays begin at multiples of `align` from `memory`; with null it only counts.
  ArrayLayout(std::byte* memory, int64_t align) : memory_(memory), align_(align) {}

  template <typename Pointer>
  void place(Pointer& array, int64_t count) {
    using Element = std::remove_pointer_t<Pointer>;
    array = memory_ == nullptr ? nullptr : reinterpret_cast<Pointer>(memory_ + bytes_);
    bytes_ += (count * static_cast<int64_t>(sizeof(Element)) + align_ - 1) / align_ * align_;
  }
  [[nodiscard]] int64_t bytes() const { return bytes_; }

 private:
  std::byte* memory_;
  int64_t align_, bytes_ = 0;
};

}  // namespace hlwq
