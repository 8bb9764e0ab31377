#include "base/cpu_topology.h"

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>

#include "base/control_groups.h"

namespace hlwq {
namespace {

constexpr int kMostCpus = 1 << 16;

std::string read_line(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

// CPUs a group's own quota allows; nothing when it has none. Version 2's file, then version 1's.
std::optional<int64_t> quota_of_group(const std::string& folder) {
  std::string quota;
  int64_t micros = 0, period = 0;
  if (std::ifstream v2(folder + "/cpu.max"); v2 >> quota >> period) {
    std::from_chars(quota.data(), quota.data() + quota.size(), micros);  // "max" leaves 0
  } else {
    std::ifstream quota_v1(folder + "/cpu.cfs_quota_us"), period_v1(folder + "/cpu.cfs_period_us");
    if (!(quota_v1 >> micros && period_v1 >> period)) return std::nullopt;
  }
  if (micros <= 0 || period <= 0) return std::nullopt;
  return (micros - 1) / period + 1;
}

}  // namespace

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> cpus;
  const char *at = text.data(), *const end = at + text.size();
  while (at < end) {
    int first = 0;
    auto read = std::from_chars(at, end, first);
    if (read.ec != std::errc()) return {};
    int last = first;
    if (read.ptr < end && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, end, last);
      if (read.ec != std::errc()) return {};
    }
    if (first < 0 || last < first || last >= kMostCpus) return {};
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (read.ptr < end && *read.ptr != ',') return {};
    at = read.ptr + 1;
  }
  return cpus;
}

std::vector<int> allowed_cpus() {
  // The kernel refuses a mask shorter than its own.
  for (int most = CPU_SETSIZE; most <= kMostCpus; most *= 4) {
    const size_t bytes = CPU_ALLOC_SIZE(most);
    const auto set =
        std::make_unique<cpu_set_t[]>((bytes + sizeof(cpu_set_t) - 1) / sizeof(cpu_set_t));
    if (sched_getaffinity(0, bytes, set.get()) != 0) continue;
    std::vector<int> cpus;
    for (int cpu = 0; cpu < most; ++cpu)
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set.get())) cpus.push_back(cpu);
    return cpus;
  }
  return {};
}

int count_cores(std::span<const int> cpus, const std::string& root) {
  int cores = 0;
  for (const int cpu : cpus) {
    const std::string folder =
        root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string list = read_line(folder + "core_cpus_list");
    if (list.empty()) list = read_line(folder + "thread_siblings_list");  // before Linux 5.3
    // A core counts where its first allowed CPU is.
    const std::vector<int> siblings = parse_cpu_list(list);
    cores += std::none_of(siblings.begin(), siblings.end(), [&](int sibling) {
      return sibling < cpu && std::find(cpus.begin(), cpus.end(), sibling) != cpus.end();
    });
  }
  return cores;
}

int cgroup_cpus(const std::string& root) {
  int64_t least = std::numeric_limits<int>::max();
  for (const std::string& folder : control_groups("cpu", root))
    least = std::min(least, quota_of_group(folder).value_or(least));
  return least == std::numeric_limits<int>::max() ? 0 : static_cast<int>(least);
}

std::vector<int> nodes_of(std::span<const int> cpus, const std::string& root) {
  const std::string folder = root + "/sys/devices/system/node/";
  std::vector<int> nodes;
  for (const int node : parse_cpu_list(read_line(folder + "online"))) {
    const std::vector<int> own =
        parse_cpu_list(read_line(folder + "node" + std::to_string(node) + "/cpulist"));
    if (std::find_first_of(own.begin(), own.end(), cpus.begin(), cpus.end()) != own.end())
      nodes.push_back(node);
  }
  return nodes;
}

bool interleave(void* memory, size_t bytes, std::span<const int> nodes) {
  if (nodes.size() < 2) return false;
  int policy = MPOL_DEFAULT;
  if (syscall(SYS_get_mempolicy, &policy, nullptr, 0UL, nullptr, 0UL) != 0 ||
      policy != MPOL_DEFAULT)
    return false;
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask(static_cast<size_t>(nodes.back()) / kBits + 1);
  for (const int node : nodes)
    mask[static_cast<size_t>(node) / kBits] |= 1UL << (static_cast<size_t>(node) % kBits);
  // The kernel reads one bit less than it is told.
  return syscall(SYS_mbind, memory, bytes, MPOL_INTERLEAVE, mask.data(), mask.size() * kBits + 1,
                 0U) == 0;
}

}  // namespace hlwq
