#include "ops/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/available_memory.h"
#include "base/check.h"
#include "base/random.h"

namespace hlwq {

DeviceMemory host_memory() {
  DeviceMemory memory;
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_bytes > 0)
    memory.total = static_cast<size_t>(pages) * static_cast<size_t>(page_bytes);
  memory.free = static_cast<size_t>(available_memory_bytes());
  return memory;
}

void fill_random_range(std::byte* to, size_t begin, size_t end, uint64_t seed, uint64_t keep,
                       uint64_t set) {
  HLWQ_CHECK(begin % sizeof(uint64_t) == 0);
  for (size_t at = begin; at < end; at += sizeof(uint64_t)) {
    const uint64_t word = (random_bits(seed, at / sizeof(uint64_t)) & keep) | set;
    std::memcpy(to + at, &word, std::min(sizeof(word), end - at));  // low bytes first
  }
}

}  // namespace hlwq
