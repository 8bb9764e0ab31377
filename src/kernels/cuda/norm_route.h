#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device_limits.h"
#include "kernels/cuda/plain_product.h"
#include "kernels/cuda/rms_norm.h"
#include "kernels/cuda/route.h"

namespace hlwq::cuda {

// For one token what rms_norm, plain_product of the gate and route_rows do, bit for bit.
struct NormRoute {
  RmsNormRows norm;       // y may not be x
  const std::byte* gate;  // [experts, width] of `type`
  PlainType type;
  float* scores;       // [experts], between the parts of the kernel
  RouteRows route;     // its scores are the above
  uint32_t* arrivals;  // zero before and after
};

// Whether norm_route takes this: one token, experts and width not too many, and a gate that can be
// read 16 bytes at a time.
[[nodiscard]] bool norm_route_takes(const NormRoute& args, const DeviceLimits& device);
void norm_route(const NormRoute& args, const DeviceLimits& device, cudaStream_t stream);

}  // namespace hlwq::cuda
