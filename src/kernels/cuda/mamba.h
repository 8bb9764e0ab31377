#pragma once
// The kernels of a Mamba-2 mixer between its projections (docs/math.md#mamba-2). A segment of one
// token is one launch, mamba_step. Longer ones take three: mamba_convolve, mamba_scan, mamba_norm.
// Both ways give the same bits: the arithmetic is in mamba_math.cuh and mamba_norm.cuh once. Shapes
// that mamba_scan does not take go through mamba_scan_any, whatever their length.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/shapes.h"

namespace hlwq::cuda {

// Device pointers; strides in floats. The meaning of most is in ops/backend.h, MambaArgs.
struct MambaCall {
  int heads = 0, head_dim = 0, groups = 0, state = 0, kernel = 0;
  int inner = 0;     // heads * head_dim
  int channels = 0;  // inner + 2 * groups * state: x | B | C
  const Segment* segments = nullptr;
  const int32_t* token_segment = nullptr;
  int64_t segment_count = 0, tokens = 0;

  const float* projected = nullptr;  // [tokens, z | x B C | dt]
  int64_t projected_stride = 0;
  const float* conv_weight = nullptr;
  const float* conv_bias = nullptr;  // or null
  const float* dt_bias = nullptr;
  const float* a_log = nullptr;
  const float* d = nullptr;
  float dt_min = 0, dt_max = 0;
  const float* norm_weight = nullptr;
  float eps = 0;
  float* conv_state = nullptr;
  float* ssm_state = nullptr;

  float* out = nullptr;  // [tokens, inner]; the gated scan until the norm replaces it
  int64_t out_stride = 0;
  int8_t* xq = nullptr;  // out as int8 (null: not wanted); groups must be whole blocks then
  float* sx = nullptr;
  int32_t* sum = nullptr;
  uint32_t* non_finite = nullptr;

  // Scratch.
  float* convolved = nullptr;    // [tokens, channels]
  float* time_step = nullptr;    // [tokens, heads]
  float* decay = nullptr;        // [tokens, heads]
  uint32_t* counters = nullptr;  // [segments, groups], zero before and after
};

// Whether mamba_step and mamba_scan take the shape.
[[nodiscard]] bool mamba_scan_takes(const MambaCall& call);
// Limits of mamba_step, and the largest state that mamba_scan_any keeps.
inline constexpr int kMostGroupWidth = 16384, kMostStepKernel = 8;
inline constexpr int kMostState = 512;

// Segments of one token, whole.
void mamba_step(const MambaCall& call, cudaStream_t stream);

// Segments of at least `fewest` tokens, in this order. `tiles`: of those segments, of
// kConvolveTokens tokens (segment_tiles.h).
inline constexpr int kConvolveTokens = 16;
void mamba_convolve(const MambaCall& call, int fewest, int64_t tiles, cudaStream_t stream);
void mamba_scan(const MambaCall& call, int fewest, cudaStream_t stream);
void mamba_scan_any(const MambaCall& call, int fewest, cudaStream_t stream);
void mamba_norm(const MambaCall& call, int fewest, cudaStream_t stream);

}  // namespace hlwq::cuda
