#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hlwq::cuda {

inline constexpr int64_t kMostRoutedExperts = 2048;

// The router's choice, as RouteArgs of ops/backend.h; device pointers. scores is the product of the
// gate, [tokens, experts]; ids and weights are [tokens, experts_used].
struct RouteRows {
  const float* scores;
  const float* correction_bias;  // [experts]
  int64_t tokens, experts;
  int64_t groups, groups_used, experts_used;
  bool normalize;
  float scale;
  int32_t* ids;
  float* weights;
};
void route_rows(const RouteRows& args, cudaStream_t stream);

}  // namespace hlwq::cuda
