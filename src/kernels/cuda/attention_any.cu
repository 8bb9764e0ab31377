// attention_any.cu: attention for shapes and pages that the tensor core kernels do not take.
// Math    softmax in FP32, base 2; pages in eight interleaved sets, each by running softmax with
//         its pages ascending; then the sets ascending
// Shapes  any head_dim up to kMostAnyHeadDim, F16 or F32 pages, segments of any length
// Bytes   2 * head_dim * element a head and token of context, shared by a group's heads in L2
// Floor   not tuned: latency and L1 bind
// Method  a CTA a token, head and up to 256 elements of the output; a warp a set of pages. A lane
//         scores two keys; it sums every 32nd element, weights come by exchange

#include "kernels/cuda/attention_math.cuh"
#include "kernels/cuda/launch.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32;
constexpr int kElements = 8;  // of a lane's sums
constexpr int kColumns = 32 * kElements;
constexpr int kPage = static_cast<int>(kPageTokens);
static_assert(kPage == 64 && kColumns == kThreads);

__device__ __forceinline__ float widen(float v) { return v; }
__device__ __forceinline__ float widen(__half v) { return __half2float(v); }

template <typename Element>
__global__ void __launch_bounds__(kThreads) attend_any(const AttentionCall a) {
  __shared__ float query[kMostAnyHeadDim], sums_of[kWarps][kColumns];
  __shared__ float most_of[kWarps], total_of[kWarps];
  wait_for_inputs();
  let_next_start();
  const int64_t token = blockIdx.x;
  const int head = blockIdx.y, first_column = blockIdx.z * kColumns, dim = a.head_dim;
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const Segment segment = a.segments[a.token_segment[token]];
  const int64_t position = segment.position + token - segment.first_token;
  for (int i = thread; i < dim; i += kThreads)
    query[i] = a.q[token * a.q_stride + static_cast<int64_t>(head) * dim + i];
  __syncthreads();  // the query is there

  const float factor = __fdiv_rn(1.44269504088896340736f, __fsqrt_rn(static_cast<float>(dim)));
  const int64_t key_rows = static_cast<int64_t>(head / a.shared) * kPage;
  const int64_t value_rows = key_rows + static_cast<int64_t>(a.kv_heads) * kPage;
  Softmax softmax;
  float sums[kElements] = {};
  for (int64_t page = warp; page <= position / kPage; page += kWarps) {
    const int64_t number = a.tables[segment.slot * a.table_stride + page];
    const auto* const memory = reinterpret_cast<const Element*>(a.pages + number * a.page_bytes);
    const int visible =
        static_cast<int>(min(position - page * kPage + 1, static_cast<int64_t>(kPage)));
    float scores[2], most = -INFINITY;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int key = lane + 32 * j;
      scores[j] = -INFINITY;
      if (key >= visible) continue;
      const Element* const row = memory + (key_rows + key) * dim;
      float dot = 0;
#pragma unroll 4
      for (int i = 0; i < dim; ++i) dot = fmaf(query[i], widen(row[i]), dot);
      scores[j] = dot;
      most = fmaxf(most, dot);
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
      most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, distance));
    const float shrink = raise(softmax, most * factor);
    const float reference = reference_of(softmax.most);
    const float weights[2] = {weight_of(scores[0], factor, reference),
                              weight_of(scores[1], factor, reference)};
    float total = weights[0] + weights[1];
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
      total += __shfl_xor_sync(kAllLanes, total, distance);
    softmax.total = fmaf(softmax.total, shrink, total);
#pragma unroll
    for (float& sum : sums) sum *= shrink;
    for (int key = 0; key < visible; ++key) {
      const float weight = __shfl_sync(kAllLanes, key < 32 ? weights[0] : weights[1], key % 32);
      const Element* const row = memory + (value_rows + key) * dim;
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        const int column = first_column + lane + 32 * i;
        if (column < dim) sums[i] = fmaf(weight, widen(row[column]), sums[i]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kElements; ++i) sums_of[warp][lane + 32 * i] = sums[i];
  if (lane == 0) {
    most_of[warp] = softmax.most;
    total_of[warp] = softmax.total;
  }
  __syncthreads();  // all sets are there
  if (first_column + thread >= dim) return;
  float most = most_of[0], sum = sums_of[0][thread], total = total_of[0];
#pragma unroll
  for (int set = 1; set < kWarps; ++set) {
    const Joint joint = joint_of(most, most_of[set]);
    sum = join(sum, sums_of[set][thread], joint);
    total = join(total, total_of[set], joint);
    most = fmaxf(most, most_of[set]);
  }
  a.out[token * a.out_stride + static_cast<int64_t>(head) * dim + first_column + thread] =
      __fdiv_rn(sum, total);
}

}  // namespace

void attention_any(const AttentionCall& call, cudaStream_t stream) {
  launch(call.half ? attend_any<__half> : attend_any<float>,
         {.grid = dim3(static_cast<unsigned>(call.tokens), static_cast<unsigned>(call.heads),
                       static_cast<unsigned>((call.head_dim + kColumns - 1) / kColumns)),
          .block = kThreads,
          .stream = stream},
         call);
}

}  // namespace hlwq::cuda
