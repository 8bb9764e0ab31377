#pragma once

namespace hlwq::cuda {

// Sums each of the first kCount values of v over the lanes that differ in the bits kDistance,
// kDistance / 2, ..., 1 of their number (2 * kDistance lanes), always by the tree that adds lanes
// kDistance apart first. While there is more than one value, half of them move to either side of an
// exchange, so that of N values sum number l * N / (2 * kDistance) and those up to the next lane's
// are in v[0 ...] of lane l (numbered within its group of lanes).
template <int kCount, int kDistance = 16, typename T, int kSize>
__device__ __forceinline__ void sum_over_lanes(T (&v)[kSize]) {
  static_assert(kCount <= kSize && (kCount & (kCount - 1)) == 0);
  if constexpr (kDistance > 0 && kCount > 1) {
    const bool upper = (threadIdx.x & kDistance) != 0;
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i) {
      const T given = upper ? v[i] : v[i + kCount / 2];
      const T kept = upper ? v[i + kCount / 2] : v[i];
      v[i] = kept + __shfl_xor_sync(0xffffffffu, given, kDistance);
    }
    sum_over_lanes<kCount / 2, kDistance / 2>(v);
  } else if constexpr (kDistance > 0) {
    v[0] = v[0] + __shfl_xor_sync(0xffffffffu, v[0], kDistance);
    sum_over_lanes<1, kDistance / 2>(v);
  }
}

}  // namespace hlwq::cuda
