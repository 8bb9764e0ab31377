#include "base/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <thread>
#include <vector>

#include "base/cpu_topology.h"

namespace hlwq {
namespace {

#if defined(__x86_64__)
// clang 14 does not know "f16c" in __builtin_cpu_supports.
bool has_f16c() {
  unsigned int a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

// Whether the processor has AMX int8, the system keeps its registers, and this process may use it:
// Linux wants to be asked, once for all threads.
bool has_amx_int8() {
  constexpr unsigned int kOsXsave = 1u << 27, kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;
  constexpr unsigned int kTileState = 3u << 17;  // of XCR0: tile configuration and tile data
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  unsigned int a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kOsXsave) == 0) return false;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kAmxTile) == 0 || (d & kAmxInt8) == 0) return false;
  unsigned int low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & kTileState) != kTileState) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
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
  f.amx_int8 = f.avx512_vbmi && has_amx_int8();
#endif
  return f;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

int usable_cpus() {
  const std::vector<int> allowed = allowed_cpus();
  int cpus = allowed.empty() ? static_cast<int>(std::thread::hardware_concurrency())
                             : count_cores(allowed);
  if (const int quota = cgroup_cpus(); quota > 0) cpus = std::min(cpus, quota);
  return std::max(cpus, 1);
}

}  // namespace hlwq
