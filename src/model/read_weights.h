#pragma once
// Reads parameters of checkpoints into a back end's memory.

#include <cstdint>
#include <functional>
#include <vector>

#include "base/result.h"
#include "format/checkpoint.h"
#include "ops/backend.h"

namespace hlwq {

// Where one parameter is read from.
struct TensorSource {
  const Checkpoint* checkpoint = nullptr;
  const CheckpointTensor* stored = nullptr;
  int64_t slice = -1;  // >= 0: the expert's matrix in a fused 3-D tensor
};

// One parameter on its way. Coded matrices keep their codes; plain ones are read in their own type
// or, where `matrix` has another than the file, as FP32.
struct WeightToRead {
  TensorSource source;
  Matrix matrix;
  Device device = Device::kHost;  // where its data is: read to there, or staged on the host
};

// Most bytes of weights that lie in host memory on the way to another device, unless one coded
// matrix is more.
inline constexpr int64_t kStagingBytes = int64_t{1} << 30;

// Reads all of them, those of host memory last, `threads` threads side by side within
// kStagingBytes. `progress` (may be empty) is called under a lock with the bytes read so far.
// Errors: those of the earliest row range that failed (the rest is left unread): kBadValue (NaN or
// infinity, naming tensor and row; codes and norms as read_codes), kOutOfMemory, kIo.
[[nodiscard]] Status read_weights(
    std::vector<WeightToRead> weights, Backend& backend, int threads,
    const std::function<void(uint64_t done, uint64_t total)>& progress,
    int64_t staging_bytes = kStagingBytes);

}  // namespace hlwq
