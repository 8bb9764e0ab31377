// CudaBackend::read_bandwidth: the roof that bench compares decode steps with.

#include <algorithm>

#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/read_bandwidth.h"

namespace hlwq::cuda {
namespace {

using Event = Unique<cudaEvent_t, cudaEventDestroy>;

constexpr size_t kMostBytes = size_t{2} << 30;
constexpr size_t kLeastBytes = size_t{256} << 20;  // some times the largest L2 cache
constexpr int kBlocksEach = 8;                     // of 256 threads: all a multiprocessor holds
constexpr int kRounds = 20;                        // the first one warms up

Event make_event() {
  cudaEvent_t event = nullptr;
  HLWQ_CUDA(cudaEventCreate(&event));
  return Event(event);
}

// As much as there is room for beside a loaded model.
Result<Buffer> allocate_read_buffer() {
  Result<Buffer> buffer;
  for (size_t bytes = kMostBytes; bytes >= kLeastBytes; bytes /= 2) {
    buffer = allocate_device(bytes, "buffer of the bandwidth measurement");
    if (buffer) break;
  }
  return buffer;
}

}  // namespace

Result<double> CudaBackend::read_bandwidth() {
  const int blocks = limits_.multiprocessors * kBlocksEach;
  HLWQ_TRY_ASSIGN(const Buffer buffer, allocate_read_buffer());
  HLWQ_TRY_ASSIGN(const Buffer sums,
                  allocate_device(static_cast<size_t>(read_sum_words(blocks)) * sizeof(uint32_t),
                                  "sums of the bandwidth measurement"));
  // Bits that change on every line cost the memory more than zeros do.
  fill_random(buffer.data(), buffer.bytes(), /*seed=*/1, /*keep=*/~uint64_t{0}, /*set=*/0);

  const Event begin = make_event(), end = make_event();
  float best_ms = 0;
  for (int round = 0; round < kRounds; ++round) {
    HLWQ_CUDA(cudaEventRecord(begin.get(), stream_.get()));
    read_all(buffer.data(), buffer.bytes(), sums.as<uint32_t>().data(), blocks, stream_.get());
    HLWQ_CUDA(cudaEventRecord(end.get(), stream_.get()));
    HLWQ_CUDA(cudaEventSynchronize(end.get()));
    float ms = 0;
    HLWQ_CUDA(cudaEventElapsedTime(&ms, begin.get(), end.get()));
    if (round > 0) best_ms = best_ms == 0 ? ms : std::min(best_ms, ms);
  }
  return static_cast<double>(buffer.bytes()) / (best_ms * 1e-3);
}

}  // namespace hlwq::cuda
