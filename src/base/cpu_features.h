#pragma once

#include <string>

namespace hlwq {

// What this processor can run, asked once. All false off x86-64.
struct CpuFeatures {
  bool avx2 = false;         // AVX2 and FMA and F16C, enabled by the operating system
  bool avx512_vnni = false;  // AVX-512 F, BW, DQ, VL, VNNI
  bool avx512_vbmi = false;  // the above and VBMI
};

const CpuFeatures& cpu_features();

// CPUs this process may use: the affinity mask, reduced by a cgroup CPU quota (rounded up). >= 1.
int usable_cpus();

}  // namespace hlwq
