// attention_any.cu: attention for shapes and pages that the tensor core kernels do not take.
// Math    softmax in FP32, base 2; pages in eight interleaved sets, each by running softmax with
//         its pages ascending; then the sets ascending
// Shapes  any head_dim up to kMostAnyHeadDim, F16 or F32 pages, segments of any length; pages of
// codes Bytes   2 * head_dim * element a head and token of context, shared by a group's heads in L2
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

// H of `dim` elements in shared memory, by the CTA; they must be there, and are there afterwards.
__device__ __forceinline__ void rotate_shared(float* x, int dim) {
  for (int stride = 1; stride < dim; stride *= 2) {
    for (int pair = threadIdx.x; pair < dim / 2; pair += kThreads) {
      const int i = pair / stride * 2 * stride + pair % stride;
      const float first = x[i], second = x[i + stride];
      x[i] = first + second;
      x[i + stride] = first - second;
    }
    __syncthreads();  // the next stride reads what other threads wrote
  }
  for (int i = threadIdx.x; i < dim; i += kThreads) x[i] *= inverse_root(dim);
  __syncthreads();  // so does whoever uses it
}

template <typename Element>
struct PlainRow {
  const Element* row;
  __device__ __forceinline__ float operator[](int i) const { return widen(row[i]); }
};

// Keys or values of a page, row by row.
template <typename Element>
struct PlainPage {
  const Element* rows;
  int dim;
  __device__ __forceinline__ PlainRow<Element> row(int key) const {
    return {rows + static_cast<int64_t>(key) * dim};
  }
};

struct CodedRow {
  const unsigned char* section;
  int bits, dim, key;  // 16 bits: a section of F16
  float scale;

  template <int kBits>
  __device__ __forceinline__ float level(int i) const {
    const auto* const words = reinterpret_cast<const uint32_t*>(section);
    const int code = kv_code_at<kBits>(
        i % kKvUnit, [&](int word) { return words[kv_word_at(dim, word, i / kKvUnit, key)]; });
    return scale * kv_level<kBits>(code);
  }
  __device__ __forceinline__ float operator[](int i) const {
    switch (bits) {
      case 2:
        return level<2>(i);
      case 3:
        return level<3>(i);
      case 4:
        return level<4>(i);
      case 8:
        return level<8>(i);
      default:
        return widen(reinterpret_cast<const __half*>(section)[key * dim + i]);
    }
  }
};
struct CodedPage {
  const unsigned char* section;
  int bits, dim;
  __device__ __forceinline__ CodedRow row(int key) const {
    const float scale =
        bits == kPlainKvBits
            ? 0.0f
            : widen(reinterpret_cast<const __half*>(section + kv_codes_bytes(bits, dim))[key]);
    return {section, bits, dim, key, scale};
  }
};

// Where a query finds the keys or values of a page.
template <typename Element, bool kCoded>
__device__ __forceinline__ auto page_of(const AttentionCall& a, const Segment& segment,
                                        int64_t page, int64_t coded, int kv_head, bool values) {
  const int32_t* const table = a.tables + segment.slot * a.table_stride;
  if constexpr (kCoded) {
    const unsigned char* const section = page < coded
                                             ? page_section(a, table, page, kv_head, values)
                                             : reinterpret_cast<const unsigned char*>(ring_half(
                                                   a, segment.slot, page, kv_head, values));
    const int bits = values ? a.value_bits : a.key_bits;
    return CodedPage{section, page < coded ? bits : kPlainKvBits, a.head_dim};
  } else {
    const int64_t rows = (static_cast<int64_t>(values ? a.kv_heads : 0) + kv_head) * kPage;
    return PlainPage<Element>{
        reinterpret_cast<const Element*>(a.pages + table[page] * a.page_bytes) + rows * a.head_dim,
        a.head_dim};
  }
}

template <typename Element, bool kCoded>
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
  if (kCoded && a.key_bits < kPlainKvBits) rotate_shared(query, dim);

  const float factor = __fdiv_rn(1.44269504088896340736f, __fsqrt_rn(static_cast<float>(dim)));
  const int kv_head = head / a.shared;
  const int64_t coded = kCoded ? coded_pages(position) : 0;
  Softmax softmax;
  float sums[kElements] = {};
  for (int64_t page = warp; page <= position / kPage; page += kWarps) {
    const auto keys = page_of<Element, kCoded>(a, segment, page, coded, kv_head, false);
    const auto values = page_of<Element, kCoded>(a, segment, page, coded, kv_head, true);
    const int visible =
        static_cast<int>(min(position - page * kPage + 1, static_cast<int64_t>(kPage)));
    float scores[2], most = -INFINITY;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int key = lane + 32 * j;
      scores[j] = -INFINITY;
      if (key >= visible) continue;
      const auto row = keys.row(key);
      float dot = 0;
#pragma unroll 4
      for (int i = 0; i < dim; ++i) dot = fmaf(query[i], row[i], dot);
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
      const auto row = values.row(key);
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        const int column = first_column + lane + 32 * i;
        if (column < dim) sums[i] = fmaf(weight, row[column], sums[i]);
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

// Outputs are sums of rotated values: a CTA a head of a token.
__global__ void __launch_bounds__(kThreads) rotate_out(const AttentionCall a) {
  __shared__ float out[kMostAnyHeadDim];
  wait_for_inputs();
  let_next_start();
  float* const row = a.out + static_cast<int64_t>(blockIdx.x) * a.out_stride +
                     static_cast<int64_t>(blockIdx.y) * a.head_dim;
  for (int i = threadIdx.x; i < a.head_dim; i += kThreads) out[i] = row[i];
  __syncthreads();  // it is there
  rotate_shared(out, a.head_dim);
  for (int i = threadIdx.x; i < a.head_dim; i += kThreads) row[i] = out[i];
}

}  // namespace

void attention_any(const AttentionCall& call, cudaStream_t stream) {
  const bool coded = call.ring != nullptr;
  const auto heads = dim3(static_cast<unsigned>(call.tokens), static_cast<unsigned>(call.heads));
  launch(coded       ? attend_any<__half, true>
         : call.half ? attend_any<__half, false>
                     : attend_any<float, false>,
         {.grid = dim3(heads.x, heads.y,
                       static_cast<unsigned>((call.head_dim + kColumns - 1) / kColumns)),
          .block = kThreads,
          .stream = stream},
         call);
  if (coded && call.value_bits < kPlainKvBits)
    launch(rotate_out, {.grid = heads, .block = kThreads, .stream = stream}, call);
}

}  // namespace hlwq::cuda
