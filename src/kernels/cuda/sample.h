#pragma once
// The sampling rule of ops/sampling.h for rows of logits in device memory.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace hlwq::cuda {

inline constexpr int kMostSampledRows = 64;             // of one launch
inline constexpr int64_t kLargestVocabulary = 1 << 23;  // sums of masses are exact up to here

// SampleRow of ops/sampling.h; its recent ids are recent[recent_begin, + recent_count).
struct RowSettings {
  uint64_t seed, position;
  float inverse_temperature, top_p, min_p, repeat_penalty;
  int32_t top_k, recent_begin, recent_count;
};

struct SampledRows {
  RowSettings row[kMostSampledRows];
  int rows = 0;
  const float* logits = nullptr;  // [rows, vocabulary], `stride` floats apart
  int64_t stride = 0;
  int32_t vocabulary = 0;
  const int32_t* recent = nullptr;
  int32_t* ids = nullptr;     // out [rows]; -1: no logit above minus infinity
  std::byte* work = nullptr;  // sampling_work_bytes(), zero before the first launch
};

[[nodiscard]] size_t sampling_work_bytes();

// Up to nine launches: one for greedy rows alone, one more for any other, four more each where
// top-k and top-p cut.
void sample_rows(const SampledRows& args, cudaStream_t stream);

}  // namespace hlwq::cuda
