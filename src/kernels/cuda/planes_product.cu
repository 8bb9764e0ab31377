// planes_product.cu: y = W x with W in bit planes, 2 to 8 bits, any table: the general product.
// Math    ops/integer_dot.h; levels of 8 bits by dp4a, wide ones (16 bits) by dp2a, sums in int32;
//         a warp computes chunk sums (kChunkBlocks blocks), which are added in ascending order by
//         one thread an output
// Shapes  W [rows][blocks*128] in planes, x i8[tokens][blocks*128] -> y f32[tokens][rows]; up to
//         four W that share x, or one an expert
// Bytes   rows * blocks * (16 * bits + 2) once a tile of tokens (+ x, y)
// Floor   instructions, not bytes: about 8 * (2 * bits + 11) for the decoding of 32 weights
// Method  a CTA for 8 rows, a warp a chunk of blocks, all of whose planes are requested before it
//         waits for x. A lane has a quarter, 32 weights, of a row's block: one word of each plane.
//         Shifted by n and masked, the planes give the codes of weights n, n+8, n+16, n+24 as
//         bytes; levels are looked up in shared memory and packed in the order of xq

#include <cuda_fp16.h>

#include <type_traits>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/planes_product.h"
#include "kernels/cuda/product_grid.cuh"
#include "kernels/cuda/warp_sums.cuh"

namespace hlwq::cuda {
namespace {

constexpr int kRows = 8;
constexpr int kMostWarps = 8;

struct PlanesArgs {
  QuantizedRows x;
  int blocks;
  ProductGrid grid;
  CodedForm form;
};

// The planes and norms of kHeld blocks, as one lane holds them; zeros beyond the row.
template <int kBits, int kHeld>
struct HeldPlanes {
  uint32_t planes[kHeld][kBits];
  uint16_t norms[kHeld];
};

template <int kBits, int kHeld>
__device__ __forceinline__ void load_planes(HeldPlanes<kBits, kHeld>& held, const BlockJob& job,
                                            int blocks, int first_block) {
  const int lane = threadIdx.x % 32, quarter = lane % 4;
  const int row = min(job.first_row + lane / 4, job.rows - 1);  // rows beyond repeat the last one
  const int64_t at = static_cast<int64_t>(row) * blocks + first_block;
  const auto* words = reinterpret_cast<const uint32_t*>(job.matrix) + at * kBits * 4 + quarter;
  const auto* norms =
      reinterpret_cast<const uint16_t*>(job.matrix + planes_norms_offset(job.rows, blocks, kBits)) +
      at;
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    const bool in = first_block + i < blocks;
#pragma unroll
    for (int p = 0; p < kBits; ++p) {
      held.planes[i][p] = 0;
      if (in) held.planes[i][p] = __ldg(words + (i * kBits + p) * 4);
    }
    held.norms[i] = 0;
    if (in) held.norms[i] = __ldg(norms + i);
  }
}

// 32 weights as words of two int16 (wide) or four int8, ascending.
template <int kBits, bool kWide>
struct Levels32 {
  using Level = std::conditional_t<kWide, uint16_t, uint8_t>;
  uint32_t words[kWide ? 16 : 8];

  __device__ __forceinline__ void decode(const uint32_t (&planes)[kBits], const Level* levels) {
    uint32_t codes[8];  // byte k of word n: the code of weight 8k + n
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      codes[n] = 0;
#pragma unroll
      for (int p = 0; p < kBits; ++p) {
        const uint32_t moved = p >= n ? planes[p] << (p - n) : planes[p] >> (n - p);
        codes[n] |= moved & (0x01010101u << p);
      }
    }
    const auto level = [&](int i) -> uint32_t {
      return levels[(codes[i % 8] >> (8 * (i / 8))) & 0xffu];
    };
    if constexpr (kWide) {
#pragma unroll
      for (int i = 0; i < 16; ++i) words[i] = __byte_perm(level(2 * i), level(2 * i + 1), 0x5410);
    } else {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const uint32_t low = __byte_perm(level(4 * i), level(4 * i + 1), 0x0040);
        const uint32_t high = __byte_perm(level(4 * i + 2), level(4 * i + 3), 0x0040);
        words[i] = __byte_perm(low, high, 0x5410);
      }
    }
  }

  // The sum of products with 32 activations, at a multiple of 16 bytes.
  [[nodiscard]] __device__ __forceinline__ int32_t dot(const int8_t* xq) const {
    const int4 low = reinterpret_cast<const int4*>(xq)[0];
    const int4 high = reinterpret_cast<const int4*>(xq)[1];
    const int x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    int32_t sum = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if constexpr (kWide) {
        sum = __dp2a_lo(static_cast<int>(words[2 * i]), x[i], sum);
        sum = __dp2a_hi(static_cast<int>(words[2 * i + 1]), x[i], sum);
      } else {
        sum = __dp4a(static_cast<int>(words[i]), x[i], sum);
      }
    }
    return sum;
  }
};

template <int kBits, bool kWide, int kTokens>
__global__ void __launch_bounds__(kMostWarps * 32, kWide ? 1 : 2)
    planes_tiles(const __grid_constant__ PlanesArgs a) {
  using Levels = Levels32<kBits, kWide>;
  // One row of x: a chunk's planes are requested at once. More: registers hold sums instead.
  constexpr int kHeld = kTokens == 1 ? kChunkBlocks : 1;
  constexpr int kOwn = kTokens < 4 ? 1 : kTokens / 4;  // tokens whose sums a lane finishes
  extern __shared__ float chunk_sums[];                // [chunks][kRows][kTokens]
  __shared__ typename Levels::Level levels[1 << kBits];
  const int blocks = a.blocks, chunks = (blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int quarter = lane % 4;
  const BlockJob job = find_job(a.grid);
  if (job.begin >= job.end) return;
  HeldPlanes<kBits, kHeld> held;
  load_planes(held, job, blocks, warp * kChunkBlocks);
  for (int k = threadIdx.x; k < 1 << kBits; k += blockDim.x)
    levels[k] = static_cast<typename Levels::Level>(a.form.levels[k]);
  wait_for_inputs();
  let_next_start();

  for (int input = job.begin; input < job.end; input += kTokens) {
    __syncthreads();     // the levels are there, and the chunk sums of the inputs before are read
    int x_row[kTokens];  // in blocks; inputs beyond repeat the last one
#pragma unroll
    for (int t = 0; t < kTokens; ++t)
      x_row[t] = static_cast<int>(job.row_of(min(input + t, job.end - 1))) * blocks;
    int own_row[kOwn];
#pragma unroll
    for (int t = 0; t < kOwn; ++t) {
      const int token = kTokens < 4 ? 0 : quarter * kOwn + t;
      own_row[t] = static_cast<int>(job.row_of(min(input + token, job.end - 1))) * blocks;
    }
    for (int c = warp; c < chunks; c += warps) {
      float sums[kOwn] = {};
#pragma unroll 1
      for (int first = c * kChunkBlocks; first < min((c + 1) * kChunkBlocks, blocks);
           first += kHeld) {
        if (first != warp * kChunkBlocks || input != job.begin)
          load_planes(held, job, blocks, first);
#pragma unroll
        for (int i = 0; i < kHeld; ++i) {
          const int block = first + i;
          if (i > 0 && block >= blocks) continue;
          Levels weights;
          weights.decode(held.planes[i], levels);
          int32_t dots[kTokens];
#pragma unroll
          for (int t = 0; t < kTokens; ++t)
            dots[t] = weights.dot(a.x.xq + static_cast<int64_t>(x_row[t] + block) * kBlock +
                                  quarter * 32);
          sum_over_lanes<kTokens, 2>(dots);
          const float norm = __half2float(__ushort_as_half(held.norms[i]));
#pragma unroll
          for (int t = 0; t < kOwn; ++t)
            sums[t] = add_block(norm, a.x.sx[own_row[t] + block] * a.form.factor,
                                centered_dot(dots[t], a.x.sum[own_row[t] + block]), sums[t]);
        }
      }
      float* out = chunk_sums + (c * kRows + lane / 4) * kTokens;
      if constexpr (kTokens < 4) {
        if (quarter == 0) out[0] = sums[0];
      } else {
#pragma unroll
        for (int t = 0; t < kOwn; ++t) out[quarter * kOwn + t] = sums[t];
      }
    }
    __syncthreads();  // every chunk's sums are there before they are added up
    for (int i = threadIdx.x; i < kRows * kTokens; i += blockDim.x) {
      const int token = i / kRows, row = i % kRows;  // neighbours write neighbours
      if (input + token >= job.end || job.first_row + row >= job.rows) continue;
      float total = 0;
      for (int c = 0; c < chunks; ++c) total += chunk_sums[(c * kRows + row) * kTokens + token];
      job.store(input + token, job.first_row + row, total);
    }
  }
}

// Calls f with the bits as a constant.
template <typename F>
void with_bits(int bits, F&& f) {
  switch (bits) {
    case 2:
      return f(std::integral_constant<int, 2>{});
    case 3:
      return f(std::integral_constant<int, 3>{});
    case 4:
      return f(std::integral_constant<int, 4>{});
    case 5:
      return f(std::integral_constant<int, 5>{});
    case 6:
      return f(std::integral_constant<int, 6>{});
    case 7:
      return f(std::integral_constant<int, 7>{});
    default:
      HLWQ_CHECK(bits == 8);
      return f(std::integral_constant<int, 8>{});
  }
}

}  // namespace

void planes_product(const QuantizedRows& x, int64_t tokens, const ProductTargets& targets,
                    const CodedForm& form, const ExpertPairs& experts, cudaStream_t stream) {
  PlanesArgs args = {.x = x, .blocks = static_cast<int>(x.blocks), .grid = {}, .form = form};
  if (!name_inputs(args.grid, tokens, targets, experts)) return;
  HLWQ_CHECK(!form.tiled5 && (tokens + experts.pairs) * x.blocks <= INT32_MAX);
  const int chunks = (args.blocks + kChunkBlocks - 1) / kChunkBlocks;
  const int warps = chunks < kMostWarps ? chunks : kMostWarps;
  const auto launch_cut = [&](auto kernel, int tokens_of_tile) {
    const dim3 grid = cut(args.grid, kRows, tokens_of_tile);
    launch(kernel,
           {.grid = grid,
            .block = static_cast<unsigned>(warps * 32),
            .shared_bytes = static_cast<size_t>(chunks) * kRows * tokens_of_tile * sizeof(float),
            .stream = stream},
           args);
  };
  const bool one = inputs_of_a_matrix(args.grid) <= 1;
  with_bits(form.bits, [&](auto bits) {
    if (one) {
      form.wide ? launch_cut(planes_tiles<bits, true, 1>, 1)
                : launch_cut(planes_tiles<bits, false, 1>, 1);
    } else {
      form.wide ? launch_cut(planes_tiles<bits, true, 8>, 8)
                : launch_cut(planes_tiles<bits, false, 8>, 8);
    }
  });
}

}  // namespace hlwq::cuda
