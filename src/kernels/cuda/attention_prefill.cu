// attention_prefill.cu: causal attention of long segments over their whole context.
// Math    a row is one head of one token; per split of 128 keys weights relative to the split's
//         largest score, their sums and those of weighted values, splits joined ascending
//         (attention_math.cuh): what attention_decode and attention_combine do, with the same bits
// Shapes  heads of 64 or 128, F16 pages that hold the segment's own keys already
// Bytes   a tile's pages once: 4 * head_dim * context a tile of 128 rows, from L2; 30B, 4096
//         tokens: 1.1 GB a layer
// Floor   8 * heads * head_dim operations a token and key (twice 4, for high and low); 30B, 4096
//         tokens: 0.28 TFLOP a layer, at 600 TFLOP/s 0.46 ms
// Method  rows of all heads of a KV head's group share the tiles: a CTA has 16 rows a warp, tiles
//         of a page's keys and values are double-buffered. A split's sums and those of all splits
//         before are both in registers. Tiles with long contexts start first

#include "kernels/cuda/attention_math.cuh"
#include "kernels/cuda/kv_expand.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/segment_tiles.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kPage = static_cast<int>(kPageTokens);
constexpr int kRowsOfWarp = 16;

// Tiles of keys and values, with codes one of each, else two; then queries.
template <int kHeadDim, int kWarps, bool kCoded>
constexpr size_t kSharedBytes = sizeof(__half) * ((kCoded ? 2 : 4) * kPage * kHeadDim +
                                                  2 * kRowsOfWarp * kWarps * kHeadDim);
// Then sections of codes, of two pages.
HLWQ_HD constexpr int half_section_bytes(int bits, int head_dim) {
  return bits < kPlainKvBits ? static_cast<int>(kv_section_bytes(bits, head_dim)) : 0;
}

// One row of a segment.
struct Row {
  int token;  // of the segment; -1: there is no such row
  int head;
};

__device__ __forceinline__ Row row_at(const AttentionCall& a, const Segment& segment, int kv_head,
                                      int row) {
  const int token = row / a.shared;
  return {token < segment.tokens ? token : -1, kv_head * a.shared + row % a.shared};
}

// Scores of a page become weights, in place. A lane has rows g and g + 8 of its warp's; they see
// the keys of the page up to last[r]. Leaves in `shrink` what the sums so far are multiplied by.
__device__ __forceinline__ void weigh_page(float (&scores)[kPage / 8][4], Softmax (&softmax)[2],
                                           const float (&factor)[2], const int (&last)[2],
                                           float (&shrink)[2]) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float most = -INFINITY;
#pragma unroll
    for (int j = 0; j < kPage / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float& score = scores[j][2 * r + e];
        if (8 * j + 2 * t + e > last[r]) score = -INFINITY;
        most = fmaxf(most, score);
      }
    }
    shrink[r] = raise(softmax[r], most_of_four_lanes(most) * factor[r]);
    const float reference = reference_of(softmax[r].most);
    float sums[4];
#pragma unroll
    for (int w = 0; w < 4; ++w) {
#pragma unroll
      for (int j = 2 * w; j < 2 * w + 2; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e)
          scores[j][2 * r + e] = weight_of(scores[j][2 * r + e], factor[r], reference);
      }
      sums[w] = sum_of_16_keys(scores[2 * w][2 * r], scores[2 * w][2 * r + 1],
                               scores[2 * w + 1][2 * r], scores[2 * w + 1][2 * r + 1]);
    }
    softmax[r].total =
        fmaf(softmax[r].total, shrink[r], sum_of_page(sums[0], sums[1], sums[2], sums[3]));
  }
}

// One reading of a page by a tile whose rows may differ in which pages they read from codes: all of
// the first ones do, then come pages that are read in both forms, each by some of the rows.
struct PagePass {
  int page;
  bool coded;
};
struct PagePasses {
  int first_exact, coded;  // pages that some rows read exactly, from; codes, up to
  int count;

  [[nodiscard]] __device__ __forceinline__ PagePass at(int i) const {
    if (i < first_exact) return {i, true};
    const int mixed = coded - first_exact, after = i - first_exact;
    if (after < 2 * mixed) return {first_exact + after / 2, after % 2 == 0};
    return {first_exact + after - mixed, false};
  }
};

// Whether a query so many tokens after a page's first reads the page from codes: coded_pages, of
// the one page.
__device__ __forceinline__ bool reads_codes(int after_first) {
  return after_first >= kPage + static_cast<int>(kExactTokens) - 1;
}

// H of the rows g and g + 8 of a warp's outputs, as rotate_block orders it.
template <int kColumns>
__device__ __forceinline__ void rotate_outputs(float (&out)[kColumns][4]) {
#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float a = out[column][2 * r], b = out[column][2 * r + 1];
      out[column][2 * r] = a + b;
      out[column][2 * r + 1] = a - b;
    }
#pragma unroll
    for (int distance = 1; distance < 4; distance *= 2) {
      const bool upper = (threadIdx.x & distance) != 0;
#pragma unroll
      for (float& mine : out[column]) {
        const float other = __shfl_xor_sync(kAllLanes, mine, distance);
        mine = upper ? other - mine : mine + other;
      }
    }
  }
#pragma unroll
  for (int stride = 1; stride < kColumns; stride *= 2) {
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
      if ((column & stride) != 0) continue;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float a = out[column][e], b = out[column + stride][e];
        out[column][e] = a + b;
        out[column + stride][e] = a - b;
      }
    }
  }
#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
#pragma unroll
    for (float& x : out[column]) x *= inverse_root(8 * kColumns);
  }
}

template <int kHeadDim, int kWarps, bool kCoded>
__global__ void __launch_bounds__(kWarps * 32, 1)
    attend_tile(const AttentionCall a, const TileRule rule) {
  constexpr int kThreads = kWarps * 32, kRows = kRowsOfWarp * kWarps;
  constexpr int kTile = kPage * kHeadDim, kColumns = kHeadDim / 8;
  extern __shared__ uint4 dynamic_shared[];
  constexpr int kTiles = kCoded ? 1 : 2;
  __half* const keys = reinterpret_cast<__half*>(dynamic_shared);  // [kTiles][kTile]
  __half* const values = keys + kTiles * kTile;
  __half* const query_high = values + kTiles * kTile;
  __half* const query_low = query_high + kRows * kHeadDim;
  // With codes: [2][keys, values].
  unsigned char* const sections = reinterpret_cast<unsigned char*>(query_low + kRows * kHeadDim);
  __shared__ float factors[kRows];
  __shared__ int lasts[kRows];
  __shared__ float* out_rows[kRows];  // null: there is no such row
  wait_for_inputs();
  let_next_start();

  const int kv_head = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const SegmentTile at = find_tile(rule, a.segments, a.segment_count, gridDim.x - 1 - blockIdx.x);
  const Segment segment = a.segments[at.segment];
  const int first_row = static_cast<int>(at.tile) * kRows;  // of the segment's: 31 bits hold all
  const int last_row = min(first_row + kRows, static_cast<int>(segment.tokens) * a.shared) - 1;
  const int position = static_cast<int>(segment.position);
  const int context = position + static_cast<int>(segment.tokens);
  const int pages = (position + last_row / a.shared) / kPage + 1;
  const int32_t* const table = a.tables + segment.slot * a.table_stride;
  PagePasses passes{.first_exact = 0, .coded = 0, .count = pages};
  if constexpr (kCoded) {
    passes.first_exact = static_cast<int>(coded_pages(position + first_row / a.shared));
    passes.coded = static_cast<int>(coded_pages(position + last_row / a.shared));
    passes.count = pages + passes.coded - passes.first_exact;
  }
  // Asks for what pass i needs, as far as it does not go straight into the only tiles.
  const auto copy_pages = [&](int i) {
    if (i < passes.count) {
      const PagePass pass = passes.at(i);
      if constexpr (kCoded) {
        const int key_bytes = half_section_bytes(a.key_bits, kHeadDim);
        const int value_bytes = half_section_bytes(a.value_bits, kHeadDim);
        unsigned char* const stage = sections + i % 2 * (key_bytes + value_bytes);
        if (pass.coded) {
          if (key_bytes > 0)
            copy_section<kThreads>(stage, page_section(a, table, pass.page, kv_head, false),
                                   key_bytes);
          if (value_bytes > 0)
            copy_section<kThreads>(stage + key_bytes,
                                   page_section(a, table, pass.page, kv_head, true), value_bytes);
        }
      } else {
        const int valid = min(context - pass.page * kPage, kPage);
        const int stage = i % 2 * kTile;
        copy_page<kHeadDim, kThreads>(keys + stage, page_half(a, table, pass.page, kv_head, false),
                                      valid, -1);
        copy_page<kHeadDim, kThreads>(values + stage, page_half(a, table, pass.page, kv_head, true),
                                      valid, -1);
      }
    }
    commit_copies();
  };
  // The tile of a half, of a pass with codes whose sections are there.
  const auto fill_tile = [&](int i, const PagePass& pass, bool is_value) {
    __half* const tile = is_value ? values : keys;
    const int bits = is_value ? a.value_bits : a.key_bits;
    const int key_bytes = half_section_bytes(a.key_bits, kHeadDim);
    const int value_bytes = half_section_bytes(a.value_bits, kHeadDim);
    if (pass.coded && bits < kPlainKvBits) {
      expand_section<kHeadDim, kThreads>(
          tile, sections + i % 2 * (key_bytes + value_bytes) + (is_value ? key_bytes : 0), bits);
    } else {
      const __half* const rows = pass.coded
                                     ? reinterpret_cast<const __half*>(
                                           page_section(a, table, pass.page, kv_head, is_value))
                                     : ring_half(a, segment.slot, pass.page, kv_head, is_value);
      copy_page<kHeadDim, kThreads>(tile, rows, min(context - pass.page * kPage, kPage), -1);
    }
  };
  copy_pages(0);
  copy_pages(1);

  const int warp_row = warp * kRowsOfWarp;
  constexpr int kAtOnce = 8;
  for (int first = warp_row; first < warp_row + kRowsOfWarp; first += kAtOnce) {
    LaneQuery<kHeadDim> queries[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const Row row = row_at(a, segment, kv_head, first_row + first + i);
      const bool exists = row.token >= 0;
      const int64_t token = segment.first_token + row.token;
      const int column = row.head * kHeadDim;
      queries[i].load(exists ? a.q + token * a.q_stride + column : nullptr);
      if (lane == 0) {
        out_rows[first + i] = exists ? a.out + token * a.out_stride + column : nullptr;
        lasts[first + i] = exists ? position + row.token : -1;
      }
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (kCoded && a.key_bits < kPlainKvBits) queries[i].rotate();
      const float factor = stage_query(queries[i], query_high, query_low, first + i);
      if (lane == 0) factors[first + i] = factor;
    }
  }
  __syncwarp();  // the warp's queries and factors are there
  // Of the lane's rows: the key that it sees last (-1: none), and its factor.
  const auto load_rows = [&](int(&last)[2], float(&factor)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = warp_row + lane / 4 + 8 * r;
      last[r] = lasts[row];
      factor[r] = factors[row];
    }
  };
  int last[2];
  float factor[2];
  load_rows(last, factor);

  Softmax split[2], all[2];
  float split_sums[kColumns][4] = {}, all_sums[kColumns][4] = {};
  for (int i = 0; i < passes.count; ++i) {
    const PagePass pass = passes.at(i);
    const int page = pass.page;
    const __half* const page_keys = keys + i % kTiles * kTile;
    const __half* const page_values = values + i % kTiles * kTile;
    wait_for_copies<1>();
    if constexpr (kCoded) {
      __syncthreads();  // the sections are there, the tiles are read
      fill_tile(i, pass, false);
      fill_tile(i, pass, true);
      commit_copies();
      wait_for_copies<0>();
    }
    __syncthreads();  // the page is there
    if constexpr (kCoded) copy_pages(i + 2);

    float scores[kPage / 8][4] = {};
#pragma unroll 2
    for (int step = 0; step < kHeadDim / 16; ++step) {
      uint32_t high[4], low[4];
      load_operand_a<kHeadDim>(high, query_high, warp_row, step * 16);
      load_operand_a<kHeadDim>(low, query_low, warp_row, step * 16);
#pragma unroll
      for (int j = 0; j < kPage / 8; j += 2) {
        uint32_t b[4];
        load_keys<kHeadDim>(b, page_keys, j * 8, step * 16);
        multiply_add(scores[j], high, b[0], b[1]);
        multiply_add(scores[j], low, b[0], b[1]);
        multiply_add(scores[j + 1], high, b[2], b[3]);
        multiply_add(scores[j + 1], low, b[2], b[3]);
      }
    }
    // With codes there are no registers to keep them in.
    if constexpr (kCoded) load_rows(last, factor);
    float shrink[2];
    int last_of_page[2];  // counted from the page's first; below 0: none
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      last_of_page[r] = last[r] - page * kPage;
      if (kCoded && reads_codes(last_of_page[r]) != pass.coded) last_of_page[r] = -1;
    }
    weigh_page(scores, split, factor, last_of_page, shrink);
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
#pragma unroll
      for (int e = 0; e < 4; ++e) split_sums[column][e] *= shrink[e / 2];
    }
#pragma unroll
    for (int step = 0; step < kPage / 16; ++step) {
      uint32_t high[4], low[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {  // a[i]: rows g, g + 8; then the next 8 keys
        const float* const pair = &scores[2 * step + i / 2][i % 2 * 2];
        const SplitPair weights = split_pair(pair[0], pair[1]);
        high[i] = weights.high;
        low[i] = weights.low;
      }
#pragma unroll
      for (int column = 0; column < kColumns; column += 2) {
        uint32_t b[4];
        load_values<kHeadDim>(b, page_values, step * 16, column * 8);
        multiply_add(split_sums[column], high, b[0], b[1]);
        multiply_add(split_sums[column], low, b[0], b[1]);
        multiply_add(split_sums[column + 1], high, b[2], b[3]);
        multiply_add(split_sums[column + 1], low, b[2], b[3]);
      }
    }
    const bool is_last = i == passes.count - 1;
    if (is_last || (passes.at(i + 1).page != page && page % kPagesOfSplit == kPagesOfSplit - 1)) {
      Joint joint[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        joint[r] = joint_of(all[r].most, split[r].most);
        all[r].most = fmaxf(all[r].most, split[r].most);
        all[r].total = join(all[r].total, sum_of_four_lanes(split[r].total), joint[r]);
        split[r] = {};
      }
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          all_sums[column][e] = join(all_sums[column][e], split_sums[column][e], joint[e / 2]);
          split_sums[column][e] = 0;
        }
      }
    }
    if constexpr (!kCoded) {
      __syncthreads();  // all have read the page: its place is free
      copy_pages(i + 2);
    }
  }

#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
#pragma unroll
    for (int e = 0; e < 4; ++e)
      all_sums[column][e] = __fdiv_rn(all_sums[column][e], all[e / 2].total);
  }
  if (kCoded && a.value_bits < kPlainKvBits) rotate_outputs(all_sums);

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float* const row = out_rows[warp_row + lane / 4 + 8 * r];
    if (row == nullptr) continue;
    float* const out = row + 2 * (lane % 4);
    const bool aligned = (reinterpret_cast<uintptr_t>(out) & 7) == 0;
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
      const float first = all_sums[column][2 * r], second = all_sums[column][2 * r + 1];
      if (aligned) {
        *reinterpret_cast<float2*>(out + column * 8) = make_float2(first, second);
      } else {
        out[column * 8] = first;
        out[column * 8 + 1] = second;
      }
    }
  }
}

template <int kHeadDim, int kWarps, bool kCoded>
void launch_tiles(const AttentionCall& call, int64_t tiles, cudaStream_t stream) {
  constexpr size_t kBytes = kSharedBytes<kHeadDim, kWarps, kCoded>;
  constexpr size_t kMostSections = kCoded ? 4 * kv_section_bytes(8, kHeadDim) : 0;
  static const cudaError_t allowed = cudaFuncSetAttribute(
      attend_tile<kHeadDim, kWarps, kCoded>, cudaFuncAttributeMaxDynamicSharedMemorySize,
      static_cast<int>(kBytes + kMostSections));
  HLWQ_CUDA(allowed);
  const int sections =
      half_section_bytes(call.key_bits, kHeadDim) + half_section_bytes(call.value_bits, kHeadDim);
  const TileRule rule{
      .fewest = 2, .rows_of_token = call.shared, .rows_of_tile = kRowsOfWarp * kWarps};
  launch(attend_tile<kHeadDim, kWarps, kCoded>,
         {.grid = dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(call.kv_heads)),
          .block = kWarps * 32,
          .shared_bytes = kBytes + 2 * static_cast<size_t>(sections),
          .stream = stream},
         call, rule);
}

// Heads of 128 need 128 KB of shared memory for 8 warps; sm_86 and sm_89 have 99 KB.
bool eight_warps_fit() {
  static const int bytes = [] {
    int device = 0, most = 0;
    HLWQ_CUDA(cudaGetDevice(&device));
    HLWQ_CUDA(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    return most;
  }();
  return static_cast<size_t>(bytes) >= kSharedBytes<128, 8, false>;
}

template <bool kCoded>
void launch_for_shape(const AttentionCall& call, int64_t tiles, cudaStream_t stream) {
  if (call.head_dim == 64) return launch_tiles<64, 8, kCoded>(call, tiles, stream);
  if (eight_warps_fit()) return launch_tiles<128, 8, kCoded>(call, tiles, stream);
  launch_tiles<128, 4, kCoded>(call, tiles, stream);
}

}  // namespace

bool attention_takes(const AttentionCall& call) {
  const auto aligned = [](const void* memory) {
    return (reinterpret_cast<uintptr_t>(memory) & 15) == 0;
  };
  return call.half && (call.head_dim == 64 || call.head_dim == 128) && aligned(call.pages) &&
         aligned(call.ring) && call.page_bytes % 16 == 0;
}

int prefill_rows(int head_dim) {
  return kRowsOfWarp * (head_dim == 64 || eight_warps_fit() ? 8 : 4);
}

void attention_prefill(const AttentionCall& call, int64_t tiles, cudaStream_t stream) {
  call.ring != nullptr ? launch_for_shape<true>(call, tiles, stream)
                       : launch_for_shape<false>(call, tiles, stream);
}

}  // namespace hlwq::cuda
