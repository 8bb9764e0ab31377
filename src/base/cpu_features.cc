#include "base/cpu_features.h"

#include <sched.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>

namespace hlwq {
namespace {

#if defined(__x86_64__)
// clang 14 does not know "f16c" in __builtin_cpu_supports.
bool has_f16c() {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

CpuFeatures detect() {
  CpuFeatures f;
#if defined(__x86_64__)
  __builtin_cpu_init();
  f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  f.avx512_vnni = f.avx2 && __builtin_cpu_supports("avx512f") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  f.avx512_vbmi = f.avx512_vnni && __builtin_cpu_supports("avx512vbmi");
#endif
  return f;
}

// CPUs a cgroup quota allows, rounded up; 0 when there is none.
int cgroup_cpus() {
  std::string quota;
  int64_t period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period) {
    if (quota == "max" || period <= 0) return 0;
    const int64_t micros = std::strtoll(quota.c_str(), nullptr, 10);
    return micros > 0 ? static_cast<int>((micros + period - 1) / period) : 0;
  }
  std::ifstream quota_v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_v1("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  int64_t micros = 0;
  if (quota_v1 >> micros && period_v1 >> period && micros > 0 && period > 0)
    return static_cast<int>((micros + period - 1) / period);
  return 0;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

int usable_cpus() {
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) cpus = CPU_COUNT(&set);
  if (const int quota = cgroup_cpus(); quota > 0) cpus = std::min(cpus, quota);
  return std::max(cpus, 1);
}

}  // namespace hlwq
