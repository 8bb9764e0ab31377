#pragma once
// The one place that allocates GPU and pinned host memory.

#include <cstddef>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "tensor/buffer.h"

namespace hlwq::cuda {

// GPU memory, zeroed, aligned to 256 bytes. Errors: kOutOfMemory, saying what for, how much was
// wanted and how much is free.
[[nodiscard]] Result<Buffer> allocate_device(size_t bytes, std::string_view what);

// Host memory that the GPU reads and writes in place. Owned; move-only.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  // Zeroed. Errors: kOutOfMemory.
  static Result<PinnedBuffer> allocate(size_t bytes, std::string_view what);
  [[nodiscard]] std::byte* host() const { return buffer_.data(); }
  [[nodiscard]] std::byte* device() const { return device_; }  // the same memory for kernels
  [[nodiscard]] size_t bytes() const { return buffer_.bytes(); }
  [[nodiscard]] Buffer release() && { return std::move(buffer_); }

 private:
  Buffer buffer_;
  std::byte* device_ = nullptr;
};

// The same as a plain buffer of host memory, for callers that rely on host and device addresses
// being one (as they are on 64-bit systems); without a GPU ordinary memory. Zeroed. Errors:
// kOutOfMemory.
[[nodiscard]] Result<Buffer> allocate_mapped(size_t bytes, std::string_view what);

// Bytes from allocate_device that are in use, and the most there ever were.
struct AllocatedBytes {
  size_t now = 0, peak = 0;
};
[[nodiscard]] AllocatedBytes allocated_bytes();

}  // namespace hlwq::cuda
