#pragma once
// The tokens of a step on the device: copied once before its ops, so that recorded steps read new
// contents at the same addresses.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "kernels/cuda/memory.h"
#include "ops/backend.h"

namespace hlwq::cuda {

// Device pointers. A segment's fields are those of ops/backend.h.
struct StepOnDevice {
  const int32_t* ids = nullptr;            // [tokens]
  const Segment* segments = nullptr;       // [segments]
  const int32_t* token_segment = nullptr;  // [tokens] which segment a token is in
  int64_t tokens = 0, segment_count = 0;
};

class StepInputs {
 public:
  // Room for steps of `tokens` tokens. Errors: kOutOfMemory.
  [[nodiscard]] Status create(int64_t tokens);
  StepInputs() = default;
  ~StepInputs();
  StepInputs(const StepInputs&) = delete;
  StepInputs& operator=(const StepInputs&) = delete;
  // Copies on `stream`; the host's side may change on return.
  void set(const StepTokens& tokens, cudaStream_t stream);
  [[nodiscard]] const StepOnDevice& on_device() const { return on_device_; }

 private:
  int64_t most_tokens_ = 0;
  PinnedBuffer staging_;
  Buffer memory_;
  StepOnDevice on_device_;
  cudaEvent_t copied_ = nullptr;
};

}  // namespace hlwq::cuda
