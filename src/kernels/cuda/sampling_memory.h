#pragma once
// What CudaBackend::sample keeps between calls: 4 MB on the GPU, 1 MB of pinned memory.

#include "kernels/cuda/memory.h"

namespace hlwq::cuda {

struct SamplingMemory {
  // Errors: kOutOfMemory.
  [[nodiscard]] Status create();

  PinnedBuffer staging;  // ids of a launch, written by the GPU; then its recent ids
  Buffer recent;         // the recent ids on the GPU
  Buffer work;           // of sample_rows
};

}  // namespace hlwq::cuda
