#include "tensor/buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu_topology.h"
#include "base/units.h"

namespace hlwq {
namespace {

constexpr size_t kAlign = 256;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kHugeFrom = size_t{4} << 20;
constexpr size_t kInterleaveFrom = size_t{64} << 20;  // weights; less stays near who writes it

void free_small(void* data, size_t) noexcept { ::operator delete (data, std::align_val_t{kAlign}); }
void free_mapped(void* data, size_t bytes) noexcept { munmap(data, bytes); }

// An anonymous mapping whose start is a multiple of the huge page; nullptr when refused.
void* map_huge_aligned(size_t bytes) {
  const size_t padded = bytes + kHugePage;
  void* raw = mmap(nullptr, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  auto begin = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = (begin + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned > begin) munmap(raw, aligned - begin);
  // munmap rounds its length up to whole pages; the deleter unmaps [aligned, aligned + bytes).
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t used_end = (aligned + bytes + page - 1) / page * page;
  if (begin + padded > used_end)
    munmap(reinterpret_cast<void*>(used_end), begin + padded - used_end);
  // Both are wishes: where the system has no huge pages or one node, or refuses, nothing changes.
  madvise(reinterpret_cast<void*>(aligned), bytes, MADV_HUGEPAGE);
  if (bytes >= kInterleaveFrom) {
    static const std::vector<int> nodes = nodes_of(allowed_cpus());
    interleave(reinterpret_cast<void*>(aligned), bytes, nodes);
  }
  return reinterpret_cast<void*>(aligned);
}

}  // namespace

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      device_(other.device_),
      deleter_(std::exchange(other.deleter_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  Buffer moved(std::move(other));
  std::swap(data_, moved.data_);
  std::swap(bytes_, moved.bytes_);
  std::swap(device_, moved.device_);
  std::swap(deleter_, moved.deleter_);
  return *this;
}

Buffer::~Buffer() {
  if (data_ != nullptr && deleter_ != nullptr) deleter_(data_, bytes_);
}

Result<Buffer> allocate_host(size_t bytes, std::string_view what) {
  if (bytes == 0) return Buffer();
  const auto refused = [&] {
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("{}: the system refused {} of host memory", what,
                            format_bytes(static_cast<int64_t>(bytes))));
  };
  if (bytes > (size_t{1} << 62)) return refused();
  if (bytes >= kHugeFrom) {
    void* data = map_huge_aligned(bytes);
    if (data == nullptr) return refused();
    return Buffer(data, bytes, Device::kHost, free_mapped);
  }
  void* data = ::operator new (bytes, std::align_val_t{kAlign}, std::nothrow);
  if (data == nullptr) return refused();
  std::memset(data, 0, bytes);
  return Buffer(data, bytes, Device::kHost, free_small);
}

}  // namespace hlwq
