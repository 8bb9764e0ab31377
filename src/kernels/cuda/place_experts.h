#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/device_limits.h"
#include "ops/expert_cache.h"

namespace hlwq::cuda {

// Rows that the host is to multiply with, when it has a share.
struct QuantizedInput {
  const int8_t* xq = nullptr;    // [rows, blocks * 128], at a multiple of 16
  const float* sx = nullptr;     // [rows, blocks]
  const int32_t* sum = nullptr;  // [rows, blocks]
  int32_t rows = 0, blocks = 0;
};

// place_experts_on_host on the device: the choice of slots, the order of copies, the table, and the
// question to the host (an empty mail: nobody is asked). The cache's pointers are to memory of the
// device. experts <= kMostPlacedExperts, slots <= kMostSlots.
inline constexpr int64_t kMostPlacedExperts = 2048;
void place_experts(const ExpertCache& cache, int64_t layer, const int32_t* ids, int64_t choices,
                   ExpertAddress* table, const ExpertMail& mail, const QuantizedInput& x,
                   const DeviceLimits& device, cudaStream_t stream);

// The answer of the host to place_experts of one token: outputs of the experts that the table has
// no address of, choice k in row k of `out`.
struct AnswerOfOne {
  ExpertMail mail;
  const int32_t* ids = nullptr;  // [pairs]
  const ExpertAddress* table = nullptr;
  int pairs = 0;         // at most 32; 0: nobody was asked
  float* out = nullptr;  // [pairs, width]
};

// Makes the copies that place_experts ordered, on so many multiprocessors: first the up matrices of
// all, then the down matrices, and says in the cache when each have arrived. On kAnswerCtas more it
// waits for the host's answer. The kernel launched next may start before.
inline constexpr int kFetchCtas = 8, kAnswerCtas = 2;
void fetch_experts(const ExpertCache& cache, int64_t layer, const AnswerOfOne& answer,
                   cudaStream_t stream);

// Rows from pinned host memory to their places: out[place[choices[r]]] = y[r]. With `answered` it
// waits for the answer to the last question first, and reads from the mail how many there are.
struct PutRows {
  const int32_t* choices = nullptr;
  const float* y = nullptr;
  int64_t rows = 0;
  const int32_t* place = nullptr;
  float* out = nullptr;
  int64_t width = 0;
  const int64_t* answered_rows = nullptr;  // of the mail
  const uint64_t* answered = nullptr;
  const uint64_t* questions = nullptr;  // of the cache
  const uint32_t* host_ready = nullptr;
};
void put_rows(const PutRows& args, cudaStream_t stream);

}  // namespace hlwq::cuda
