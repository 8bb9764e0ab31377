// put_rows.cu: outputs of experts that the host multiplied, from pinned memory to their places.
// Math    none
// Shapes  y f32[rows][width], choices i32[rows] -> out[place[choice]]
// Bytes   8 * width a row, half of them over PCIe; 30B, 1,000 rows: 10.8 MB
// Floor   the bus: 0.2 ms for those
// Method  a CTA a row in turn; a few CTAs keep the bus busy. It may wait for the host: the rows are
//         then those of its answer
// Source  own

#include "base/check.h"
#include "kernels/cuda/answer_wait.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/place_experts.h"

namespace hlwq::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kCtas = 32;

__global__ void __launch_bounds__(kThreads) put_rows_in_place(const PutRows a) {
  let_next_start();
  wait_for_inputs();
  int64_t rows = a.rows;
  if (a.answered != nullptr) {
    if (*a.host_ready != 0) return;  // nothing was handed over
    if (threadIdx.x == 0) wait_for_answer(a.answered, *a.questions);
    __syncthreads();  // the answer is there
    rows = __ldcv(reinterpret_cast<const long long*>(a.answered_rows));
  }
  const auto words = static_cast<int>(a.width / 4);
  for (int64_t r = blockIdx.x; r < rows; r += kCtas) {
    const auto* from = reinterpret_cast<const float4*>(a.y + r * a.width);
    auto* to = reinterpret_cast<float4*>(a.out + a.place[__ldcv(a.choices + r)] * a.width);
    for (int i = threadIdx.x; i < words; i += kThreads) to[i] = __ldcv(from + i);
  }
}

}  // namespace

void put_rows(const PutRows& args, cudaStream_t stream) {
  HLWQ_CHECK(args.width % 4 == 0);
  launch(put_rows_in_place, {.grid = kCtas, .block = kThreads, .stream = stream}, args);
}

}  // namespace hlwq::cuda
