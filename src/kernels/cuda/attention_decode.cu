// attention_decode.cu: one token of a sequence against one split of its context.
// Math    for each head of a KV head's group: weights w_j = 2^(s_j - most), sums of w_j v_j, of w_j
//         and most, over the keys j of the split up to the token's own (attention_math.cuh); k and
//         v of the token are stored first
// Shapes  heads of 64 or 128, F16 pages or codes; any number of heads, 16 of a group at a time
// Bytes   4 * kv_heads * head_dim a token of context; 30B at 8,192: 8.4 MB a layer, 13 % more for
//         the parts (from and to L2)
// Floor   8.4 MB at 4.3 TB/s = 2.0 us
// Method  a CTA has one KV head and split: all of its keys and values (64 KB) are asked for at
//         once, page by page. Queries are operand A, 16 heads a tile. Four warps share a page: 16
//         keys each for the scores, a quarter of the head each for the sums, with weights exchanged
//         through shared memory. The split with the token's own position stores k and v, and puts
//         them into its tiles itself

#include "kernels/cuda/attention_math.cuh"
#include "kernels/cuda/kv_encode.cuh"
#include "kernels/cuda/kv_expand.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/prefetch.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * 32;
constexpr int kHeadsOfTile = 16;
constexpr int kPage = static_cast<int>(kPageTokens);
constexpr int kKeysOfWarp = kPage / kWarps;
static_assert(kKeysOfWarp == 16);

// Tiles of all pages of a split, or of one; then queries.
template <int kHeadDim, bool kCoded>
constexpr size_t kSharedBytes = sizeof(__half) *
                                (2 * (kCoded ? 1 : kPagesOfSplit) * kPage * kHeadDim +
                                 2 * kHeadsOfTile * kHeadDim);
// Then, of codes, all sections.
size_t section_bytes(const AttentionCall& a) {
  if (a.ring == nullptr) return 0;
  const auto of_half = [&](int bits) {
    return bits < kPlainKvBits ? kv_section_bytes(bits, a.head_dim) : 0;
  };
  return static_cast<size_t>(kPagesOfSplit * (of_half(a.key_bits) + of_half(a.value_bits)));
}

// Pages of a split with codes, of which one at a time is a tile.
template <int kHeadDim>
struct CodedSplit {
  const AttentionCall& a;
  const int32_t* table;
  int64_t slot, first_page;
  int kv_head, coded;       // pages of the split that are read from codes
  unsigned char* sections;  // shared: [page][keys, values] of those halves that are codes

  [[nodiscard]] __device__ __forceinline__ int bits(bool values) const {
    return values ? a.value_bits : a.key_bits;
  }
  [[nodiscard]] __device__ __forceinline__ bool is_section(int page, bool values) const {
    return page < coded && bits(values) < kPlainKvBits;
  }
  [[nodiscard]] __device__ __forceinline__ unsigned char* section(int page, bool values) const {
    const auto bytes = [&](int width) {
      return width < kPlainKvBits ? static_cast<int>(kv_section_bytes(width, kHeadDim)) : 0;
    };
    const int keys = bytes(a.key_bits);
    return sections + page * (keys + bytes(a.value_bits)) + (values ? keys : 0);
  }
  [[nodiscard]] __device__ __forceinline__ const unsigned char* from(int page, bool values) const {
    return page_section(a, table, first_page + page, kv_head, values);
  }
  __device__ __forceinline__ void prefetch(int page, bool values) const {
    if (page < coded) prefetch_l2(from(page, values), kv_section_bytes(bits(values), kHeadDim));
  }
  // Asks for what is a section of codes.
  __device__ __forceinline__ void copy(int page, bool values) const {
    if (is_section(page, values))
      copy_section<kThreads>(section(page, values), from(page, values),
                             static_cast<int>(kv_section_bytes(bits(values), kHeadDim)));
  }
  // Asks for what is not, straight into the tile: `valid` keys, nothing for `skipped`.
  __device__ __forceinline__ void copy_exact(__half* tile, int page, bool values, int valid,
                                             int skipped) const {
    if (is_section(page, values)) return;
    const __half* const rows = page < coded
                                   ? reinterpret_cast<const __half*>(from(page, values))
                                   : ring_half(a, slot, first_page + page, kv_head, values);
    copy_page<kHeadDim, kThreads>(tile, rows, valid, skipped);
  }
  __device__ __forceinline__ void expand(__half* tile, int page, bool values) const {
    if (is_section(page, values))
      expand_section<kHeadDim, kThreads>(tile, section(page, values), bits(values));
  }
};

template <int kHeadDim, bool kCoded>
__global__ void __launch_bounds__(kThreads)
    attend_split(const AttentionCall a, const DecodeRange range, int head_tiles) {
  constexpr int kTile = kPage * kHeadDim, kSteps = kHeadDim / 16;
  constexpr int kColumns = kHeadDim / kWarps / 8;  // tiles of 8 elements of a warp's quarter
  extern __shared__ uint4 dynamic_shared[];
  constexpr int kTiles = kCoded ? 1 : kPagesOfSplit;
  __half* const keys = reinterpret_cast<__half*>(dynamic_shared);  // [page][kTile]
  __half* const values = keys + kTiles * kTile;
  __half* const query_high = values + kTiles * kTile;
  __half* const query_low = query_high + kHeadsOfTile * kHeadDim;
  // Weights take the queries' place once those are in registers. With codes there are no registers
  // for queries, and weights take the place of keys that were read.
  __half* const weight_high = kCoded ? keys : query_high;
  __half* const weight_low = weight_high + kHeadsOfTile * kPage;
  __shared__ float factors[kHeadsOfTile], most_of[kWarps][kHeadsOfTile];
  __shared__ float sum_of[kWarps][kHeadsOfTile][4];

  let_next_start();
  const Segment segment = a.segments[range.first + blockIdx.z];
  const int64_t position = segment.position, split = blockIdx.x;
  if (segment.tokens != 1 || split * kSplitTokens > position) {
    // So that whoever waits for this kernel has waited for those before it. One CTA is enough; the
    // others need not stay.
    if (split == 0) wait_for_inputs();
    return;
  }
  const int32_t* const table = a.tables + segment.slot * a.table_stride;
  const int kv_head = blockIdx.y / head_tiles, head_tile = blockIdx.y % head_tiles;
  const int first_head = head_tile * kHeadsOfTile;  // within the group
  const int heads = min(kHeadsOfTile, a.shared - first_head);
  const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const int g = lane / 4, t = lane % 4;

  const auto old_keys = [&](int page) {  // before the token's own
    return static_cast<int>(
        min(max(position - split * kSplitTokens - page * kPage, static_cast<int64_t>(0)),
            static_cast<int64_t>(kPage)));
  };
  const int own = static_cast<int>(position - split * kSplitTokens);  // its key in this split
  const int pages = min(kPagesOfSplit, own / kPage + 1);
  const CodedSplit<kHeadDim> codes{
      .a = a,
      .table = table,
      .slot = segment.slot,
      .first_page = split * kPagesOfSplit,
      .kv_head = kv_head,
      .coded = kCoded ? static_cast<int>(
                            min(max(coded_pages(position) - split * kPagesOfSplit, int64_t{0}),
                                static_cast<int64_t>(kPagesOfSplit)))
                      : 0,
      .sections = reinterpret_cast<unsigned char*>(query_low + kHeadsOfTile * kHeadDim)};
  if constexpr (kCoded) {
    for (int page = 0; page < pages; ++page) {
      codes.prefetch(page, false);
      codes.prefetch(page, true);
    }
  } else {
    for (int page = 0; page < pages; ++page) {
      for (int half = 0; half < 2; ++half) {
        prefetch_l2(page_half(a, table, split * kPagesOfSplit + page, kv_head, half != 0),
                    static_cast<int64_t>(old_keys(page)) * kHeadDim * sizeof(__half));
      }
    }
  }
  wait_for_inputs();

  LaneVector<kHeadDim / 32> own_vector;  // of the first two warps: the token's key, its value
  if constexpr (kCoded) {
#pragma unroll
    for (int page = 0; page < kPagesOfSplit; ++page) {
      if (page < pages) {
        codes.copy(page, false);
        codes.copy(page, true);
        if (page == 0) {
          codes.copy_exact(keys, page, false, old_keys(page), own);
          codes.copy_exact(values, page, true, old_keys(page), own);
        }
      }
      commit_copies();
    }
    if (own < kSplitTokens && warp < 2) {
      const bool is_value = warp == 1;
      const float* const from = is_value ? a.v + segment.first_token * a.v_stride
                                         : a.k + segment.first_token * a.k_stride;
      own_vector.load(from + kv_head * kHeadDim, codes.bits(is_value));
      if (head_tile == 0)
        own_vector.put(ring_half(a, segment.slot, position / kPage, kv_head, is_value) +
                           own % kPage * kHeadDim,
                       codes.bits(is_value));
    }
  } else {
#pragma unroll
    for (int page = 0; page < kPagesOfSplit; ++page) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (page < pages) {
          const __half* from =
              page_half(a, table, split * kPagesOfSplit + page, kv_head, half != 0);
          copy_page<kHeadDim, kThreads>((half != 0 ? values : keys) + page * kTile, from,
                                        old_keys(page), own - page * kPage);
        }
        commit_copies();
      }
    }
    if (own < kSplitTokens) {
      const int page = own / kPage, key = own % kPage;
      for (int i = thread; i < 2 * kHeadDim; i += kThreads) {
        const bool is_value = i >= kHeadDim;
        const int column = i % kHeadDim;
        const float* const from = is_value ? a.v + segment.first_token * a.v_stride
                                           : a.k + segment.first_token * a.k_stride;
        const __half value = to_half(from[kv_head * kHeadDim + column]);
        ((is_value ? values : keys) + page * kTile)[tile_at<kHeadDim>(key, column)] = value;
        if (head_tile == 0)
          page_half(a, table, split * kPagesOfSplit + page, kv_head,
                    is_value)[key * kHeadDim + column] = value;
      }
    }
  }
  const int head = kv_head * a.shared + first_head;
  LaneQuery<kHeadDim> queries[kHeadsOfTile / kWarps];
#pragma unroll
  for (int i = 0; i < kHeadsOfTile / kWarps; ++i) {
    const int row = warp + i * kWarps;
    queries[i].load(row < heads ? a.q + segment.first_token * a.q_stride + (head + row) * kHeadDim
                                : nullptr);
  }
#pragma unroll
  for (int i = 0; i < kHeadsOfTile / kWarps; ++i) {
    const int row = warp + i * kWarps;
    if (kCoded && a.key_bits < kPlainKvBits) queries[i].rotate();
    const float factor = stage_query(queries[i], query_high, query_low, row);
    if (lane == 0) factors[row] = factor;
  }
  __syncthreads();  // the queries and their factors are there
  uint32_t high[kSteps][4], low[kSteps][4];
  const auto load_query = [&](int step) {
    load_operand_a<kHeadDim>(high[step], query_high, 0, step * 16);
    load_operand_a<kHeadDim>(low[step], query_low, 0, step * 16);
  };
  if constexpr (!kCoded) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) load_query(step);
  }

  // A lane's rows are heads g and g + 8.
  const float factor[2] = {factors[g], factors[g + 8]};
  Softmax softmax[2];
  float sums[kColumns][4] = {};
#pragma unroll
  for (int page = 0; page < kPagesOfSplit; ++page) {
    if (page >= pages) break;
    const __half* const page_keys = keys + (kCoded ? 0 : page * kTile);
    const __half* const page_values = values + (kCoded ? 0 : page * kTile);
    if constexpr (kCoded) {
      page == 0 ? wait_for_copies<1>() : wait_for_copies<0>();
      __syncthreads();  // sections are there; tiles and weights of the page before are read
      if (page > 0) {
        codes.copy_exact(keys, page, false, old_keys(page), own - page * kPage);
        codes.copy_exact(values, page, true, old_keys(page), own - page * kPage);
        commit_copies();
      }
      codes.expand(keys, page, false);
      codes.expand(values, page, true);
      if (own / kPage == page && warp < 2) {
#pragma unroll
        for (int i = 0; i < kHeadDim / 32; ++i)
          (warp == 1 ? values : keys)[tile_at<kHeadDim>(own % kPage, lane * (kHeadDim / 32) + i)] =
              own_vector.exact(i, codes.bits(warp == 1));
      }
      if (page > 0) wait_for_copies<0>();
    } else {
      page == 0 ? wait_for_copies<3>() : wait_for_copies<1>();
    }
    __syncthreads();  // keys are there; queries are read, and the weights of the page before
    float scores[2][4] = {};  // 8 keys each
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t b[4];
      if constexpr (kCoded) load_query(step);
      load_keys<kHeadDim>(b, page_keys, warp * kKeysOfWarp, step * 16);
      multiply_add(scores[0], high[step], b[0], b[1]);
      multiply_add(scores[0], low[step], b[0], b[1]);
      multiply_add(scores[1], high[step], b[2], b[3]);
      multiply_add(scores[1], low[step], b[2], b[3]);
    }
    const int last = own - page * kPage;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = -INFINITY;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[j][2 * r + e];
          if (warp * kKeysOfWarp + 8 * j + 2 * t + e > last) score = -INFINITY;
          most = fmaxf(most, score);
        }
      }
      most = most_of_four_lanes(most);
      if (t == 0) most_of[warp][g + 8 * r] = most;
    }
    if constexpr (!kCoded) page == 0 ? wait_for_copies<2>() : wait_for_copies<0>();
    __syncthreads();  // values and most_of are there
    float shrink[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = g + 8 * r;
      const float most =
          fmaxf(fmaxf(most_of[0][row], most_of[1][row]), fmaxf(most_of[2][row], most_of[3][row]));
      shrink[r] = raise(softmax[r], most * factor[r]);
      const float reference = reference_of(softmax[r].most);
      float weights[4];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        weights[2 * j] = weight_of(scores[j][2 * r], factor[r], reference);
        weights[2 * j + 1] = weight_of(scores[j][2 * r + 1], factor[r], reference);
        const SplitPair pair = split_pair(weights[2 * j], weights[2 * j + 1]);
        const int at = tile_at<kPage>(row, warp * kKeysOfWarp + 8 * j + 2 * t);
        *reinterpret_cast<uint32_t*>(weight_high + at) = pair.high;
        *reinterpret_cast<uint32_t*>(weight_low + at) = pair.low;
      }
      sum_of[warp][row][t] = sum_of_16_keys(weights[0], weights[1], weights[2], weights[3]);
    }
    __syncthreads();  // weights and sum_of are there
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = g + 8 * r;
      const float total =
          sum_of_page(sum_of[0][row][t], sum_of[1][row][t], sum_of[2][row][t], sum_of[3][row][t]);
      softmax[r].total = fmaf(softmax[r].total, shrink[r], total);
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        sums[column][2 * r] *= shrink[r];
        sums[column][2 * r + 1] *= shrink[r];
      }
    }
#pragma unroll
    for (int step = 0; step < kPage / 16; ++step) {
      uint32_t weights[4], weights_low[4];
      load_operand_a<kPage>(weights, weight_high, 0, step * 16);
      load_operand_a<kPage>(weights_low, weight_low, 0, step * 16);
#pragma unroll
      for (int column = 0; column < kColumns; column += 2) {
        uint32_t b[4];
        load_values<kHeadDim>(b, page_values, step * 16, warp * (kHeadDim / kWarps) + column * 8);
        multiply_add(sums[column], weights, b[0], b[1]);
        multiply_add(sums[column], weights_low, b[0], b[1]);
        multiply_add(sums[column + 1], weights, b[2], b[3]);
        multiply_add(sums[column + 1], weights_low, b[2], b[3]);
      }
    }
  }

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float total = sum_of_four_lanes(softmax[r].total);
    const int row = g + 8 * r;
    if (row >= heads) continue;
    float* const record =
        a.parts +
        ((static_cast<int64_t>(blockIdx.z) * a.heads + head + row) * range.splits + split) *
            attention_record(kHeadDim);
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
      const int at = warp * (kHeadDim / kWarps) + column * 8 + 2 * t;
      *reinterpret_cast<float2*>(record + at) =
          make_float2(sums[column][2 * r], sums[column][2 * r + 1]);
    }
    if (warp == 0 && t == 0) {
      record[kHeadDim] = softmax[r].most;
      record[kHeadDim + 1] = total;
    }
  }
}

template <int kHeadDim, bool kCoded>
void launch_split(const AttentionCall& call, const DecodeRange& range, cudaStream_t stream) {
  constexpr size_t kMostSections = kCoded ? 4 * kv_section_bytes(8, kHeadDim) : 0;
  static const cudaError_t allowed = cudaFuncSetAttribute(
      attend_split<kHeadDim, kCoded>, cudaFuncAttributeMaxDynamicSharedMemorySize,
      static_cast<int>(kSharedBytes<kHeadDim, kCoded> + kMostSections));
  HLWQ_CUDA(allowed);
  const int head_tiles = (call.shared + kHeadsOfTile - 1) / kHeadsOfTile;
  launch(attend_split<kHeadDim, kCoded>,
         {.grid = dim3(static_cast<unsigned>(range.splits),
                       static_cast<unsigned>(call.kv_heads * head_tiles),
                       static_cast<unsigned>(range.count)),
          .block = kThreads,
          .shared_bytes = kSharedBytes<kHeadDim, kCoded> + section_bytes(call),
          .stream = stream},
         call, range, head_tiles);
}

}  // namespace

void attention_decode(const AttentionCall& call, const DecodeRange& range, cudaStream_t stream) {
  if (call.ring != nullptr) {
    if (call.head_dim == 64) return launch_split<64, true>(call, range, stream);
    return launch_split<128, true>(call, range, stream);
  }
  if (call.head_dim == 64) return launch_split<64, false>(call, range, stream);
  launch_split<128, false>(call, range, stream);
}

}  // namespace hlwq::cuda
