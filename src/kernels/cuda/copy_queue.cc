#include "kernels/cuda/copy_queue.h"

#include "base/check.h"
#include "kernels/cuda/check.h"

namespace hlwq::cuda {

void CopyQueue::create() {
  cudaStream_t stream = nullptr;
  HLWQ_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  stream_ = Stream(stream);
  for (Event& event : events_) {
    cudaEvent_t made = nullptr;
    HLWQ_CUDA(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
    event = Event(made);
  }
}

CopyQueue::~CopyQueue() {
  // What is copied to may be freed next.
  if (stream_.get() != nullptr) static_cast<void>(cudaStreamSynchronize(stream_.get()));
}

cudaEvent_t CopyQueue::event(int fence) const {
  HLWQ_CHECK(fence >= 0 && fence < Backend::kFences);
  return events_[static_cast<size_t>(fence)].get();
}

void CopyQueue::copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) HLWQ_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_.get()));
}

void CopyQueue::record(cudaStream_t ops, Queue queue, int fence) {
  HLWQ_CUDA(cudaEventRecord(event(fence), queue == Queue::kOps ? ops : stream_.get()));
}

void CopyQueue::wait(cudaStream_t ops, Queue queue, int fence) {
  HLWQ_CUDA(cudaStreamWaitEvent(queue == Queue::kOps ? ops : stream_.get(), event(fence), 0));
}

void CopyQueue::wait_on_host(int fence) { HLWQ_CUDA(cudaEventSynchronize(event(fence))); }

}  // namespace hlwq::cuda
