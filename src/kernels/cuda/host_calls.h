#pragma once
// What the host does in the middle of what was given to a stream: it answers the questions about
// experts (ops/expert_mail.h). The device waits for the answers, so whoever gives it the questions
// must serve them before waiting for the device.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/host_experts.h"

namespace hlwq::cuda {

class HostCalls {
 public:
  // One question more. All of them are for one host and so many tokens: those of a step.
  void add(HostExperts& host, int64_t tokens);
  // Answers them, in this thread, and forgets them. Throws when the device fails meanwhile; it is
  // let go on whatever happens.
  void serve(cudaStream_t stream);

 private:
  HostExperts* host_ = nullptr;
  uint64_t questions_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace hlwq::cuda
