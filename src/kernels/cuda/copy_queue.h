#pragma once
// A second stream for copies from host memory, and the events that order it with the stream of ops.

#include <cuda_runtime_api.h>

#include <array>

#include "kernels/cuda/stream.h"
#include "ops/backend.h"

namespace hlwq::cuda {

class CopyQueue {
 public:
  void create();
  ~CopyQueue();
  CopyQueue() = default;
  CopyQueue(const CopyQueue&) = delete;
  CopyQueue& operator=(const CopyQueue&) = delete;

  void copy(void* to, const void* from, size_t bytes);
  void record(cudaStream_t ops, Queue queue, int fence);
  void wait(cudaStream_t ops, Queue queue, int fence);
  void wait_on_host(int fence);

 private:
  using Event = Unique<cudaEvent_t, cudaEventDestroy>;
  [[nodiscard]] cudaEvent_t event(int fence) const;

  Stream stream_;
  std::array<Event, Backend::kFences> events_;
};

}  // namespace hlwq::cuda
