#pragma once
// What each instruction set provides. The bodies (*-inl.h) are compiled once per instruction set
// with its own flags; the back end picks one table at run time and never names an instruction set.
//
// All pointers are host memory. Nothing here allocates or starts threads: the back end splits the
// work and calls these from its tasks. The bits of an output depend on the shapes and on the inputs
// of that output alone, not on how the work was split. The instruction sets agree to the bit too,
// because all of them work on 16 lanes and reduce them in one tree.

#include <cstdint>

namespace hlwq::cpu {

enum class WeightKind : uint8_t { kF32, kF16, kBF16, kTiled5, kPlanes };

// A weight matrix [rows, cols], see quant/layout.h for the coded kinds.
struct Weights {
  const uint8_t* data = nullptr;    // plain elements, or the codes
  const uint8_t* signs = nullptr;   // kTiled5
  const uint16_t* norms = nullptr;  // coded, FP16
  const int16_t* levels = nullptr;  // coded: v of each code
  float factor = 0;                 // coded: step / 256
  int64_t rows = 0, cols = 0, blocks = 0;
  int bits = 0;
  bool wide = false;  // levels need 16 bits
  WeightKind kind = WeightKind::kF32;
};

// y[t][r] = (W x[t])[r] (+ bias[r]) (+ y[t][r] when accumulate).
struct Product {
  Weights weights;
  const int32_t* input_rows = nullptr;  // token t reads input row input_rows[t]; null: row t
  int64_t tokens = 0;
  const float* x = nullptr;  // plain: [*, cols]; exact coded: rotated [*, blocks*128]
  int64_t x_stride = 0;
  const int8_t* xq = nullptr;    // integer: [*, blocks*128]
  const float* sx = nullptr;     // [*, blocks]
  const int32_t* sum = nullptr;  // [*, blocks]
  float* y = nullptr;            // [tokens, y_stride]
  int64_t y_stride = 0;
  const float* bias = nullptr;  // [rows] or null
  bool accumulate = false;

  [[nodiscard]] int64_t input_row(int64_t t) const { return input_rows ? input_rows[t] : t; }
};

// The rows a task computes start at a multiple of this (two tiles of kTiled5). Plain rows may start
// anywhere; a task has at least so many of them that enough chains of fma run.
inline constexpr int64_t kTaskRows = 16, kPlainTaskRows = 8;

// Convolution of `channels` neighbouring channels over consecutive tokens, then SiLU.
struct Convolution {
  const float* raw = nullptr;  // [tokens, raw_stride], first channel of this task
  int64_t raw_stride = 0;
  const float* weight = nullptr;  // [channels, kernel]
  const float* bias = nullptr;    // [channels] or null
  float* state = nullptr;         // [channels, kernel - 1], oldest first; read, then updated
  bool fresh = false;             // the window starts as zeros whatever `state` holds
  float* out = nullptr;           // [tokens, out_stride]
  int64_t out_stride = 0;
  int64_t channels = 0, tokens = 0, kernel = 0;
};
inline constexpr int64_t kMaxConvKernel = 8;
inline constexpr int64_t kMaxConvChannels = 128;  // of a task

// The selective scan of one head over consecutive tokens, D skip and gate:
// y[t][p] = (S_t[p] . C_t + d * x[t][p]) * silu(z[t][p]).
struct Scan {
  const float* x = nullptr;  // [tokens, x_stride] convolved, this head's channels
  const float* b = nullptr;  // same rows, this group's B and C
  const float* c = nullptr;
  int64_t x_stride = 0;
  const float* dt = nullptr;  // raw dt of this head, a value every raw_stride
  const float* z = nullptr;   // gate, [tokens, raw_stride]
  int64_t raw_stride = 0;
  float dt_bias = 0, a_log = 0, d = 0, dt_min = 0, dt_max = 0;
  float* state = nullptr;  // [head_dim, state_size]; read, then updated
  bool fresh = false;
  float* y = nullptr;  // [tokens, y_stride]
  int64_t y_stride = 0;
  int64_t head_dim = 0, state_size = 0, tokens = 0;
};

// Softmax attention of a tile: groups of queries that share a KV head and a table of pages. A group
// is up to kMaxQueries heads of one token.
inline constexpr int kMaxQueries = 4, kMaxGroups = 32;
struct QueryGroup {
  const float* q[kMaxQueries] = {};  // [head_dim]
  float* out[kMaxQueries] = {};      // [head_dim]
  int queries = 0;
  int64_t visible = 0;  // keys 0 .. visible-1, at least 1
  int64_t coded = 0;    // of their pages, the first ones, that are read from codes
};
// The keys or values of one KV head in pages of codes (ops/kv_pages.h).
struct CodedHalf {
  int bits = 16;       // 16: F16
  int64_t offset = 0;  // bytes from a page's start
  // [16], of a half of 2 to 4 bits: the level of each code, or at 4 bits of each magnitude, over
  // and over.
  const float* levels = nullptr;
};
struct Attend {
  QueryGroup groups[kMaxGroups];
  int group_count = 0;
  const uint8_t* pages = nullptr;
  int64_t page_bytes = 0;
  const int32_t* table = nullptr;      // page of keys [page_tokens * i, page_tokens * (i + 1))
  int64_t page_tokens = 0;             // 64
  int64_t k_offset = 0, v_offset = 0;  // elements from a page's start: this KV head's K and V
  int64_t head_dim = 0;
  bool half = false;  // F16 pages, else F32
  float scale = 0;    // 1 / sqrt(head_dim)

  // With codes, `pages` and the table are theirs, for the pages that a group reads from codes; the
  // others are in the ring: key i in page i / page_tokens % ring_pages of it. Queries come rotated
  // when keys are coded.
  const uint8_t* ring = nullptr;  // null: no codes
  int64_t ring_pages = 0, ring_page_bytes = 0;
  CodedHalf keys, values;
};
inline constexpr int64_t kMaxPageTokens = 64;

struct CpuKernels {
  const char* name;

  // y = weight * x / sqrt(mean(x^2) + eps); y may be x.
  void (*norm_row)(const float* x, const float* weight, int64_t width, float eps, float* y);
  // Rotates and quantizes a row of `cols` values padded to `blocks` blocks (D1); false when a value
  // of the rotated row is not finite.
  bool (*quantize_row)(const float* x, int64_t cols, int64_t blocks, int8_t* xq, float* sx,
                       int32_t* sum);
  // Rotates a row (unnormalized) for exact products; false when a value is not finite.
  bool (*rotate_row)(const float* x, int64_t cols, int64_t blocks, float* rotated);
  // x = relu(x)^2, NaN stays NaN.
  void (*relu_squared)(float* x, int64_t count);
  // out = silu(gate) * up; out may be gate or up.
  void (*silu_gate)(const float* gate, const float* up, int64_t count, float* out);
  // Elements i and pairs + i of a head turned by angle i (ops/rotary.h).
  void (*turn_pairs)(const float* cosines, const float* sines, int64_t pairs, float* head);
  // y = fma(weight, x, y) or, when `first`, fma(weight, x, +0).
  void (*add_scaled)(const float* x, float weight, int64_t count, bool first, float* y);
  // y += x.
  void (*add)(const float* x, int64_t count, float* y);

  // Rows [begin, end) of a product; begin is a multiple of kTaskRows unless the weights are plain.
  void (*plain_product)(const Product& product, int64_t begin, int64_t end);
  void (*integer_product)(const Product& product, int64_t begin, int64_t end);
  void (*exact_product)(const Product& product, int64_t begin, int64_t end);
  // y[cols] = row `row` of a matrix of any kind (coded: integers rotated, then scaled).
  void (*embed_row)(const Weights& weights, int64_t row, float* y);

  void (*convolve)(const Convolution& convolution);
  void (*scan)(const Scan& scan);
  void (*attend)(const Attend& attend);
  // H of `heads` heads of `dim` elements, a power of two of at least 32; x may be out.
  void (*rotate_heads)(const float* x, int64_t heads, int64_t dim, float* out);
  // FP32 to KV pages: F16 saturates at +-65504, NaN stays NaN.
  void (*store_half)(const float* x, int64_t count, uint16_t* out);
};

const CpuKernels& portable_kernels();
#if defined(__x86_64__)
const CpuKernels& avx2_kernels();
const CpuKernels& avx512_kernels();
const CpuKernels& amx_kernels();
#endif

}  // namespace hlwq::cpu
