#include "kernels/cuda/memory.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <atomic>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/units.h"
#include "kernels/cuda/check.h"

namespace hlwq::cuda {
namespace {

std::atomic<size_t> bytes_now{0}, bytes_peak{0};

void count_allocated(size_t bytes) {
  const size_t now = bytes_now.fetch_add(bytes) + bytes;
  size_t peak = bytes_peak.load();
  while (now > peak && !bytes_peak.compare_exchange_weak(peak, now)) {
  }
}

void free_device(void* data, size_t bytes) noexcept {
  // At exit the driver may be gone already: a failure here means nothing.
  static_cast<void>(cudaFree(data));
  bytes_now.fetch_sub(bytes);
}
void free_pinned(void* data, size_t) noexcept { static_cast<void>(cudaFreeHost(data)); }

}  // namespace

Result<Buffer> allocate_device(size_t bytes, std::string_view what) {
  if (bytes == 0) return Buffer();
  void* data = nullptr;
  if (const cudaError_t error = cudaMalloc(&data, bytes); error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // an allocation that failed leaves nothing behind
    size_t free = 0, total = 0;
    HLWQ_CUDA(cudaMemGetInfo(&free, &total));
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("{}: the GPU refused {}; {} of its {} are free", what,
                            format_bytes(static_cast<int64_t>(bytes)),
                            format_bytes(static_cast<int64_t>(free)),
                            format_bytes(static_cast<int64_t>(total))));
  }
  count_allocated(bytes);
  Buffer buffer(data, bytes, Device::kCuda, free_device);
  HLWQ_CUDA(cudaMemset(data, 0, bytes));
  HLWQ_CUDA(cudaDeviceSynchronize());  // other streams do not wait for the default one
  return buffer;
}

Result<PinnedBuffer> PinnedBuffer::allocate(size_t bytes, std::string_view what) {
  PinnedBuffer pinned;
  if (bytes == 0) return pinned;
  void* data = nullptr;
  if (cudaHostAlloc(&data, bytes, cudaHostAllocMapped | cudaHostAllocPortable) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("{}: the system refused {} of pinned host memory", what,
                            format_bytes(static_cast<int64_t>(bytes))));
  }
  pinned.buffer_ = Buffer(data, bytes, Device::kHost, free_pinned);
  std::memset(data, 0, bytes);
  void* device = nullptr;
  HLWQ_CUDA(cudaHostGetDevicePointer(&device, data, 0));
  pinned.device_ = static_cast<std::byte*>(device);
  return pinned;
}

Result<Buffer> allocate_mapped(size_t bytes, std::string_view what) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    static_cast<void>(cudaGetLastError());
    return allocate_host(bytes, what);
  }
  HLWQ_TRY_ASSIGN(PinnedBuffer pinned, PinnedBuffer::allocate(bytes, what));
  HLWQ_CHECK(pinned.device() == pinned.host());
  return std::move(pinned).release();
}

AllocatedBytes allocated_bytes() { return {bytes_now.load(), bytes_peak.load()}; }

}  // namespace hlwq::cuda
