// route.cu: each token's experts and their weights from the scores of the gate.
// Math    s = 1 / (1 + exp(-score)); of the groups with the largest sum of their two largest s +
//         bias the experts with the largest s + bias; weights s (/ (their sum + 1e-20)) * scale.
//         The lower index wins ties, NaN counts as minus infinity. Sums run over ascending ids
// Shapes  scores f32[tokens][experts], bias f32[experts] -> ids i32, weights f32 [tokens][used]
// Bytes   4 * experts + 8 * used a token
// Floor   a launch; then the steps of the choice, one after the other: 6 of 128 about 0.5 us
// Method  a warp a token (route_choice.cuh)

#include "base/check.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/route.h"
#include "kernels/cuda/route_choice.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 4;

template <int kTurns>
__global__ void __launch_bounds__(kWarps * 32) route_tokens(const RouteRows a, int warp_floats) {
  extern __shared__ float shared[];
  const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
  let_next_start();
  wait_for_inputs();
  const int64_t token = static_cast<int64_t>(blockIdx.x) * warps + warp;
  if (token < a.tokens) choose_experts<kTurns>(a, token, shared + warp * warp_floats);
}

}  // namespace

void route_rows(const RouteRows& args, cudaStream_t stream) {
  if (args.tokens == 0) return;
  HLWQ_CHECK(args.experts <= kMostRoutedExperts && args.groups <= args.experts);
  const int64_t warp_floats = route_choice_floats(args.experts, args.groups);
  const size_t warp_bytes = static_cast<size_t>(warp_floats) * sizeof(float);
  // As many tokens a CTA as fit the shared memory that needs no asking for.
  int64_t warps = args.tokens < kWarps ? args.tokens : kWarps;
  while (warps > 1 && static_cast<size_t>(warps) * warp_bytes > 48 * 1024) --warps;
  static_assert(kMostRoutedExperts <= 32 * 64);
  const auto kernel = args.experts <= 32 * 4    ? route_tokens<4>
                      : args.experts <= 32 * 16 ? route_tokens<16>
                                                : route_tokens<64>;
  launch(kernel,
         {.grid = static_cast<unsigned>((args.tokens + warps - 1) / warps),
          .block = static_cast<unsigned>(warps * 32),
          .shared_bytes = static_cast<size_t>(warps) * warp_bytes,
          .stream = stream},
         args, static_cast<int>(warp_floats));
}

}  // namespace hlwq::cuda
