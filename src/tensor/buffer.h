#pragma once
// Owned memory and borrowed views of it.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "tensor/dtype.h"

namespace hlwq {

enum class Device : uint8_t { kHost, kCuda };

// Owns bytes on one device; move-only; frees them the way they were made.
class Buffer {
 public:
  using Deleter = void (*)(void* data, size_t bytes) noexcept;

  Buffer() = default;
  Buffer(void* data, size_t bytes, Device device, Deleter deleter) noexcept
      : data_(data), bytes_(bytes), device_(device), deleter_(deleter) {}
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }
  [[nodiscard]] size_t bytes() const { return bytes_; }
  [[nodiscard]] Device device() const { return device_; }
  [[nodiscard]] bool empty() const { return bytes_ == 0; }

  // The bytes as elements; the host may touch them only when device() is kHost.
  template <typename T>
  [[nodiscard]] std::span<T> as() const {
    return {static_cast<T*>(data_), bytes_ / sizeof(T)};
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Device device_ = Device::kHost;
  Deleter deleter_ = nullptr;
};

// Host memory, zeroed, aligned to 256 bytes; from 4 MiB on aligned to 2 MiB with huge pages asked
// for; from 64 MiB on spread over the memory nodes of the CPUs this process may use. Zero bytes
// give an empty buffer. Errors: kOutOfMemory, naming `what` and the size.
[[nodiscard]] Result<Buffer> allocate_host(size_t bytes, std::string_view what);

}  // namespace hlwq
