#pragma once

namespace hlwq {

// What this processor can run, asked once. All false off x86-64.
struct CpuFeatures {
  bool avx2 = false;         // AVX2 and FMA and F16C, enabled by the operating system
  bool avx512_vnni = false;  // AVX-512 F, BW, DQ, VL, VNNI
  bool avx512_vbmi = false;  // the above and VBMI
  bool amx_int8 = false;     // the above and AMX TILE and INT8, granted to this process
};

const CpuFeatures& cpu_features();

// Threads to use unless told otherwise: one a physical core of the affinity mask, and no more CPUs
// than a cgroup quota gives (rounded up). >= 1.
int usable_cpus();

}  // namespace hlwq
