// attention_combine.cu: a token's attention from its splits.
// Math    splits ascending: sums = keep * sums + add * sums of the split, totals alike; then
//         out = sums / total (attention_math.cuh), and for heads of 128 as rotate_quantize.cu
// Shapes  records of attention_decode -> out f32[token][heads*head_dim], heads of 64 or 128
// Bytes   4 * heads * (head_dim + 4) * splits; 30B at 8,192: 1.1 MB, all in L2
// Floor   a launch
//         With codes, further warps make those of the tokens' keys and values, a warp a vector
// Method  a warp a head. Maxima and factors of 32 splits are made at once, a lane each; the chain
//         over splits is two operations long, and the records of 8 splits are loaded ahead of it

#include "kernels/cuda/attention_math.cuh"
#include "kernels/cuda/kv_encode.cuh"
#include "kernels/cuda/launch.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 4, kAhead = 8;

template <int kPerLane>
__device__ __forceinline__ void load_part(float (&v)[kPerLane], const float* from) {
  if constexpr (kPerLane == 4) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  } else {
    const float2 two = *reinterpret_cast<const float2*>(from);
    v[0] = two.x, v[1] = two.y;
  }
}

// Vector `at` of the range's keys and values becomes codes.
template <int kHeadDim>
__device__ void encode(const AttentionCall& a, const DecodeRange& range, int64_t at) {
  const int64_t index = at / (2 * a.kv_heads);
  if (index >= range.count) return;
  const int head = static_cast<int>(at % (2 * a.kv_heads)), kv_head = head % a.kv_heads;
  const bool is_value = head >= a.kv_heads;
  const Segment segment = a.segments[range.first + index];
  if (segment.tokens != 1) return;
  const int bits = is_value ? a.value_bits : a.key_bits;
  const float* const from =
      is_value ? a.v + segment.first_token * a.v_stride : a.k + segment.first_token * a.k_stride;
  LaneVector<kHeadDim / 32> vector;
  vector.load(from + kv_head * kHeadDim, bits);
  vector.encode(page_section(a, a.tables + segment.slot * a.table_stride,
                             segment.position / kPageTokens, kv_head, is_value),
                bits, static_cast<int>(segment.position % kPageTokens));
}

template <int kHeadDim, bool kCoded>
__global__ void __launch_bounds__(kWarps * 32)
    combine(const AttentionCall a, const DecodeRange range) {
  constexpr int kPerLane = kHeadDim / 32;
  constexpr int64_t kRecord = attention_record(kHeadDim);
  let_next_start();
  wait_for_inputs();
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int64_t index = at / a.heads;
  if constexpr (kCoded) {
    if (index >= range.count) return encode<kHeadDim>(a, range, at - range.count * a.heads);
  }
  if (index >= range.count) return;
  const int head = static_cast<int>(at % a.heads), lane = threadIdx.x % 32;
  const Segment segment = a.segments[range.first + index];
  if (segment.tokens != 1) return;
  const int64_t splits = segment.position / kSplitTokens + 1;
  const float* const records = a.parts + at * range.splits * kRecord;

  float sums[kPerLane] = {}, most = -INFINITY, total = 0;
  for (int64_t first = 0; first < splits; first += 32) {
    const int count = static_cast<int>(min(splits - first, static_cast<int64_t>(32)));
    const float* const record = records + (first + lane) * kRecord + kHeadDim;
    const float my_most = lane < count ? record[0] : -INFINITY;
    const float my_total = lane < count ? record[1] : 0.0f;
    float up_to = fmaxf(most, my_most);  // of the splits up to the lane's
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2)
      up_to = fmaxf(up_to, __shfl_up_sync(kAllLanes, up_to, distance));
    const float before = __shfl_up_sync(kAllLanes, up_to, 1);
    const Joint my_joint = joint_of(lane == 0 ? most : before, my_most);
    for (int begin = 0; begin < count; begin += kAhead) {
      float parts[kAhead][kPerLane];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (begin + i < count)
          load_part(parts[i], records + (first + begin + i) * kRecord + lane * kPerLane);
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (begin + i >= count) break;
        const Joint joint = {__shfl_sync(kAllLanes, my_joint.keep, begin + i),
                             __shfl_sync(kAllLanes, my_joint.add, begin + i)};
        total = join(total, __shfl_sync(kAllLanes, my_total, begin + i), joint);
#pragma unroll
        for (int e = 0; e < kPerLane; ++e) sums[e] = join(sums[e], parts[i][e], joint);
      }
    }
    most = __shfl_sync(kAllLanes, up_to, 31);
  }

#pragma unroll
  for (float& sum : sums) sum = __fdiv_rn(sum, total);
  if (kCoded && a.value_bits < kPlainKvBits) {
    rotate_block(sums);
#pragma unroll
    for (float& sum : sums) sum *= inverse_root(kHeadDim);
  }
  float* const out = a.out + segment.first_token * a.out_stride + head * kHeadDim + lane * kPerLane;
#pragma unroll
  for (int e = 0; e < kPerLane; ++e) out[e] = sums[e];
  if constexpr (kHeadDim == kBlock) {
    if (a.xq == nullptr) return;
    const LaneBlock q = rotate_quantize_lanes(sums);
    const int64_t block = segment.first_token * a.heads + head;
    reinterpret_cast<uint32_t*>(a.xq + block * kBlock)[lane] = q.xq;
    if (lane == 0) {
      a.sx[block] = q.sx;
      a.sum[block] = q.sum;
      if (!q.finite) *a.non_finite = 1;
    }
  }
}

}  // namespace

void attention_combine(const AttentionCall& call, const DecodeRange& range, cudaStream_t stream) {
  const bool coded = call.ring != nullptr;
  const int64_t warps = range.count * (call.heads + (coded ? 2 * call.kv_heads : 0));
  const auto kernel = call.head_dim == 64 ? (coded ? combine<64, true> : combine<64, false>)
                                          : (coded ? combine<128, true> : combine<128, false>);
  launch(kernel,
         {.grid = static_cast<unsigned>((warps + kWarps - 1) / kWarps),
          .block = kWarps * 32,
          .stream = stream},
         call, range);
}

}  // namespace hlwq::cuda
