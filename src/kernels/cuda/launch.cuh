#pragma once
// Launching kernels one after the other with programmatic dependent launch: a kernel may start
// while the one before it still runs, and waits (wait_for_inputs) before it reads what that one
// wrote or writes what that one reads. On cards before sm_90 the wait is empty and the launches are
// ordinary.

#include <cuda_runtime.h>

#include "kernels/cuda/check.h"
#include "kernels/cuda/device_limits.h"

namespace hlwq::cuda {

// Until all kernels launched before this one have finished and their writes are visible. Every
// kernel calls it, in every thread that touches memory another kernel writes (weights are not), and
// in at least one thread block in any case: a grid that nobody waited in could end before its
// predecessor, and whoever waits for it would have waited for nothing. The one exception is the
// product that waits for flags of the kernel before it (ready_flag.cuh) and may end before that
// one does; the kernel that closes the layer waits for the last of the flags.
__device__ __forceinline__ void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// From here on the next kernel may be started on multiprocessors with room for it. Where decode
// steps spend their time kernels call it first of all, unless they say why not: the next one then
// asks for its weights while this one and those before it still run.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

struct Launch {
  dim3 grid, block;
  size_t shared_bytes = 0;  // dynamic
  cudaStream_t stream = nullptr;
};

// Lets a kernel's launches ask for all the shared memory of the device that the kernel does not
// declare itself.
template <typename... Params>
void allow_shared_bytes(void (*kernel)(Params...), const DeviceLimits& device) {
  cudaFuncAttributes attributes;
  HLWQ_CUDA(cudaFuncGetAttributes(&attributes, kernel));
  HLWQ_CUDA(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(device.shared_bytes - attributes.sharedSizeBytes)));
}

// Errors throw. The kernel must call wait_for_inputs.
template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), const Launch& how, Args&&... args) {
  cudaLaunchConfig_t config = {};
  config.gridDim = how.grid;
  config.blockDim = how.block;
  config.dynamicSmemBytes = how.shared_bytes;
  config.stream = how.stream;
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &overlap;
  config.numAttrs = 1;
  HLWQ_CUDA(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...));
}

}  // namespace hlwq::cuda
