#include "ops/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>

#include "base/check.h"
#include "base/random.h"

namespace hlwq {

DeviceMemory host_memory() {
  DeviceMemory memory;
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_bytes > 0)
    memory.total = static_cast<size_t>(pages) * static_cast<size_t>(page_bytes);
  // What a program may still take without swapping, caches counted as free.
  std::ifstream meminfo("/proc/meminfo");
  std::string name, unit;
  for (size_t kib = 0; meminfo >> name >> kib && std::getline(meminfo, unit);)
    if (name == "MemAvailable:") memory.free = kib * 1024;
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
