// Sequence mixers: Mamba-2 between its projections, rotary positions and paged attention.

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/mamba.h"
#include "kernels/cuda/rotary.h"
#include "kernels/cuda/rotate_quantize.h"
#include "kernels/cuda/segment_tiles.h"
#include "quant/kv_codec.h"

namespace hlwq::cuda {
namespace {

// The host knows how long segments are, but not where they are: those of one token take other
// kernels than longer ones.
bool any_of_one_token(std::span<const Segment> segments) {
  return std::any_of(segments.begin(), segments.end(),
                     [](const Segment& s) { return s.tokens == 1; });
}

int64_t tiles_of(const TileRule& rule, std::span<const Segment> segments) {
  int64_t tiles = 0;
  for (const Segment& s : segments) tiles += tiles_of_segment(rule, s.tokens);
  return tiles;
}

int to_int(int64_t value) {
  HLWQ_CHECK(value >= 0 && value <= std::numeric_limits<int>::max());
  return static_cast<int>(value);
}

// The step that is running, which the segments of the call must be those of.
const StepOnDevice& checked_step(const StepInputs& inputs, std::span<const Segment> segments,
                                 int64_t tokens) {
  const StepOnDevice& step = inputs.on_device();
  HLWQ_CHECK(step.segment_count == static_cast<int64_t>(segments.size()));
  HLWQ_CHECK(step.tokens == tokens);
  return step;
}

MambaCall mamba_call(const MambaArgs& args, const StepOnDevice& step, const Scratch& scratch,
                     uint32_t* non_finite) {
  const MambaShape& shape = args.shape;
  MambaCall call;
  call.heads = to_int(shape.heads);
  call.head_dim = to_int(shape.head_dim);
  call.groups = to_int(shape.groups);
  call.state = to_int(shape.state);
  call.kernel = to_int(shape.kernel);
  call.inner = to_int(shape.inner());
  call.channels = to_int(shape.conv_channels());
  call.segments = step.segments;
  call.token_segment = step.token_segment;
  call.segment_count = step.segment_count;
  call.tokens = step.tokens;
  call.projected = args.projected.data;
  call.projected_stride = args.projected.stride;
  call.conv_weight = args.conv_weight;
  call.conv_bias = args.conv_bias;
  call.dt_bias = args.dt_bias;
  call.a_log = args.a_log;
  call.d = args.d;
  call.dt_min = args.dt_min;
  call.dt_max = args.dt_max;
  call.norm_weight = args.norm_weight;
  call.eps = args.eps;
  call.conv_state = args.conv_state;
  call.ssm_state = args.ssm_state;
  call.out = args.out.x.data;
  call.out_stride = args.out.x.stride;
  if (shape.inner() / shape.groups % kBlock == 0) {  // else blocks hold parts of several groups
    call.xq = args.out.q.xq;
    call.sx = args.out.q.sx;
    call.sum = args.out.q.sum;
  }
  call.non_finite = non_finite;
  call.convolved = scratch.convolved;
  call.time_step = scratch.time_step;
  call.decay = scratch.decay;
  call.counters = scratch.counters;
  return call;
}

AttentionCall attention_call(const AttentionArgs& args, const StepOnDevice& step,
                             const Scratch& scratch, uint32_t* non_finite) {
  const AttentionShape& shape = args.shape;
  AttentionCall call;
  call.heads = to_int(shape.heads);
  call.kv_heads = to_int(shape.kv_heads);
  call.head_dim = to_int(shape.head_dim);
  call.shared = to_int(shape.heads / shape.kv_heads);
  call.segments = step.segments;
  call.token_segment = step.token_segment;
  call.segment_count = step.segment_count;
  call.tokens = step.tokens;
  call.q = args.q.data;
  call.k = args.k.data;
  call.v = args.v.data;
  call.q_stride = args.q.stride;
  call.k_stride = args.k.stride;
  call.v_stride = args.v.stride;
  call.pages = reinterpret_cast<unsigned char*>(args.pages.data);
  call.half = args.pages.dtype == DType::kF16;
  call.page_bytes = args.pages.page_bytes;
  call.tables = args.pages.tables;
  call.table_stride = args.pages.table_stride;
  if (args.pages.coded()) {
    call.key_bits = args.pages.key_bits;
    call.value_bits = args.pages.value_bits;
    call.ring = reinterpret_cast<unsigned char*>(args.pages.ring);
    call.ring_pages = args.pages.ring_pages;
    call.ring_page_bytes = 2 * shape.kv_heads * kPageTokens * shape.head_dim * 2;
  }
  call.out = args.out.x.data;
  call.out_stride = args.out.x.stride;
  call.non_finite = non_finite;
  call.parts = scratch.attention_parts;
  return call;
}

}  // namespace

void CudaBackend::mamba(const MambaArgs& args) {
  const MambaShape& shape = args.shape;
  HLWQ_CHECK(args.projected.cols == shape.projected() && args.out.x.cols == shape.inner());
  HLWQ_CHECK(shape.heads % shape.groups == 0 && shape.kernel >= 1);
  HLWQ_CHECK(args.projected.rows <= scratch_.tokens);
  if (args.projected.rows == 0) return;
  const StepOnDevice& step = checked_step(step_, args.segments, args.projected.rows);
  const MambaCall call = mamba_call(args, step, scratch_, non_finite_);
  const bool fast = mamba_scan_takes(call);
  HLWQ_CHECK(fast || shape.state <= kMostState);
  const cudaStream_t stream = stream_.get();

  if (fast && any_of_one_token(args.segments)) mamba_step(call, stream);
  const int fewest = fast ? 2 : 1;
  const int64_t tiles = tiles_of(
      {.fewest = fewest, .rows_of_token = 1, .rows_of_tile = kConvolveTokens}, args.segments);
  if (tiles > 0) {
    mamba_convolve(call, fewest, tiles, stream);
    fast ? mamba_scan(call, fewest, stream) : mamba_scan_any(call, fewest, stream);
    mamba_norm(call, fewest, stream);
  }
  if (call.xq == nullptr) quantize({args.out});
}

void CudaBackend::rotary(const RotaryArgs& args) {
  const AttentionShape& shape = args.shape;
  HLWQ_CHECK(shape.head_dim % 2 == 0 && args.table != nullptr && args.q.rows == args.k.rows);
  HLWQ_CHECK(args.q.cols == shape.heads * shape.head_dim);
  HLWQ_CHECK(args.k.cols == shape.kv_heads * shape.head_dim);
  if (args.q.rows == 0) return;
  const StepOnDevice& step = checked_step(step_, args.segments, args.q.rows);
  cuda::rotary({.heads = to_int(shape.heads),
                .kv_heads = to_int(shape.kv_heads),
                .head_dim = to_int(shape.head_dim),
                .segments = step.segments,
                .token_segment = step.token_segment,
                .tokens = step.tokens,
                .table = args.table,
                .q = args.q.data,
                .k = args.k.data,
                .q_stride = args.q.stride,
                .k_stride = args.k.stride},
               stream_.get());
}

void CudaBackend::attention(const AttentionArgs& args) {
  const AttentionShape& shape = args.shape;
  HLWQ_CHECK(args.pages.dtype == DType::kF16 || args.pages.dtype == DType::kF32);
  HLWQ_CHECK(shape.heads % shape.kv_heads == 0 && shape.head_dim <= kMostAnyHeadDim);
  HLWQ_CHECK(!args.pages.coded() || is_kv_dim(shape.head_dim));
  if (args.q.rows == 0) return;
  const StepOnDevice& step = checked_step(step_, args.segments, args.q.rows);
  AttentionCall call = attention_call(args, step, scratch_, non_finite_);
  const cudaStream_t stream = stream_.get();
  const auto store = args.pages.coded() ? attention_store_coded : attention_store;
  if (!attention_takes(call)) {
    store(call, 1, stream);
    attention_any(call, stream);
    return quantize({args.out});
  }

  const int64_t tiles = tiles_of(
      {.fewest = 2, .rows_of_token = call.shared, .rows_of_tile = prefill_rows(call.head_dim)},
      args.segments);
  const bool combine_quantizes = tiles == 0 && call.head_dim == kBlock;
  if (combine_quantizes) {
    call.xq = args.out.q.xq;
    call.sx = args.out.q.sx;
    call.sum = args.out.q.sum;
  }
  if (tiles > 0) {
    store(call, 2, stream);
    attention_prefill(call, tiles, stream);
  }
  if (any_of_one_token(args.segments)) {
    const int64_t splits =
        std::min((recorded_context() + kSplitTokens - 1) / kSplitTokens, scratch_.attention_splits);
    const int64_t at_once = scratch_.attention_splits / splits;
    for (int64_t first = 0; first < call.segment_count; first += at_once) {
      const DecodeRange range{
          .first = first, .count = std::min(at_once, call.segment_count - first), .splits = splits};
      attention_decode(call, range, stream);
      attention_combine(call, range, stream);
    }
  }
  if (!combine_quantizes) quantize({args.out});
}

}  // namespace hlwq::cuda
