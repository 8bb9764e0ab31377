// Sequence mixers: Mamba-2 between its projections, and paged attention.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/cpu_backend.h"

namespace hlwq::cpu {
namespace {

constexpr double kConvNs = 0.4;     // a channel and token
constexpr double kScanNs = 0.1;     // a state element and token
constexpr double kAttendNs = 0.06;  // a key element and head

int64_t tokens_of(std::span<const Segment> segments) {
  int64_t tokens = 0;
  for (const Segment& s : segments) tokens += s.tokens;
  return tokens;
}

// The segment of the n-th token, counting through the segments; n becomes the token within it.
const Segment& find_segment(std::span<const Segment> segments, int64_t& n) {
  size_t i = 0;
  for (; n >= segments[i].tokens; ++i) n -= segments[i].tokens;
  return segments[i];
}

}  // namespace

void CpuBackend::mamba(const MambaArgs& args) {
  const MambaShape& shape = args.shape;
  const int64_t inner = shape.inner(), channels = shape.conv_channels();
  const int64_t stride = args.projected.stride, tokens = tokens_of(args.segments);
  const auto segments = static_cast<int64_t>(args.segments.size());
  HLWQ_CHECK(args.projected.cols == shape.projected() && args.out.x.cols == inner);
  HLWQ_CHECK(shape.heads % shape.groups == 0);
  HLWQ_CHECK(shape.kernel >= 1 && shape.kernel <= kMaxConvKernel);
  HLWQ_CHECK(args.projected.rows <= scratch_.tokens && channels <= scratch_.conv_channels);

  const int64_t parts = (channels + kMaxConvChannels - 1) / kMaxConvChannels;
  parallel(segments * parts, static_cast<double>(channels * tokens) * kConvNs, [&](int64_t task) {
    const Segment& s = args.segments[static_cast<size_t>(task / parts)];
    const int64_t first = task % parts * kMaxConvChannels;
    kernels_.convolve({
        .raw = args.projected.row(s.first_token) + inner + first,
        .raw_stride = stride,
        .weight = args.conv_weight + first * shape.kernel,
        .bias = args.conv_bias == nullptr ? nullptr : args.conv_bias + first,
        .state = args.conv_state + (s.slot * channels + first) * (shape.kernel - 1),
        .fresh = s.position == 0,
        .out = scratch_.convolved + s.first_token * channels + first,
        .out_stride = channels,
        .channels = std::min(kMaxConvChannels, channels - first),
        .tokens = s.tokens,
        .kernel = shape.kernel,
    });
  });

  const int64_t head_state = shape.head_dim * shape.state;
  parallel(segments * shape.heads, static_cast<double>(tokens * shape.heads * head_state) * kScanNs,
           [&](int64_t task) {
             const Segment& s = args.segments[static_cast<size_t>(task / shape.heads)];
             const int64_t head = task % shape.heads, group = head / (shape.heads / shape.groups);
             const float* convolved = scratch_.convolved + s.first_token * channels;
             const float* projected = args.projected.row(s.first_token);
             kernels_.scan({
                 .x = convolved + head * shape.head_dim,
                 .b = convolved + inner + group * shape.state,
                 .c = convolved + inner + (shape.groups + group) * shape.state,
                 .x_stride = channels,
                 .dt = projected + inner + channels + head,
                 .z = projected + head * shape.head_dim,
                 .raw_stride = stride,
                 .dt_bias = args.dt_bias[head],
                 .a_log = args.a_log[head],
                 .d = args.d[head],
                 .dt_min = args.dt_min,
                 .dt_max = args.dt_max,
                 .state = args.ssm_state + (s.slot * shape.heads + head) * head_state,
                 .fresh = s.position == 0,
                 .y = args.out.x.row(s.first_token) + head * shape.head_dim,
                 .y_stride = args.out.x.stride,
                 .head_dim = shape.head_dim,
                 .state_size = shape.state,
                 .tokens = s.tokens,
             });
           });

  const int64_t group_width = inner / shape.groups;
  parallel_rows(tokens, static_cast<double>(inner) * 0.4, [&](int64_t n) {
    const Segment& s = find_segment(args.segments, n);
    const int64_t row = s.first_token + n;
    for (int64_t g = 0; g < shape.groups; ++g) {
      float* v = args.out.x.row(row) + g * group_width;
      kernels_.norm_row(v, args.norm_weight + g * group_width, group_width, args.eps, v);
    }
    if (args.out.q.xq != nullptr) quantize_one(args.out, row);
  });
}

void CpuBackend::store_keys_values(const AttentionArgs& args) {
  const AttentionShape& shape = args.shape;
  const KvPages& pages = args.pages;
  const int64_t width = shape.kv_heads * shape.head_dim, element = bytes_of(pages.dtype);
  parallel_rows(tokens_of(args.segments), static_cast<double>(width) * 0.4, [&](int64_t n) {
    const Segment& s = find_segment(args.segments, n);
    const int64_t position = s.position + n;
    const int32_t page = pages.tables[s.slot * pages.table_stride + position / kPageTokens];
    for (int64_t head = 0; head < 2 * shape.kv_heads; ++head) {
      const F32View& from = head < shape.kv_heads ? args.k : args.v;
      const float* values = from.row(s.first_token + n) + head % shape.kv_heads * shape.head_dim;
      std::byte* to = pages.data + page * pages.page_bytes +
                      (head * kPageTokens + position % kPageTokens) * shape.head_dim * element;
      if (pages.dtype == DType::kF16) {
        kernels_.store_half(values, shape.head_dim, reinterpret_cast<uint16_t*>(to));
      } else {
        std::memcpy(to, values, static_cast<size_t>(shape.head_dim * element));
      }
    }
  });
}

void CpuBackend::attention(const AttentionArgs& args) {
  const AttentionShape& shape = args.shape;
  const KvPages& pages = args.pages;
  HLWQ_CHECK(pages.dtype == DType::kF16 || pages.dtype == DType::kF32);
  HLWQ_CHECK(shape.heads % shape.kv_heads == 0);
  static_assert(kPageTokens <= kMaxPageTokens);
  store_keys_values(args);

  // A unit is up to kMaxQueries heads of one token that share a KV head.
  const int64_t shared = shape.heads / shape.kv_heads;
  const int64_t parts = (shared + kMaxQueries - 1) / kMaxQueries;
  const int64_t token_units = shape.kv_heads * parts, tokens = tokens_of(args.segments);
  double keys = 0;
  for (const Segment& s : args.segments) {
    keys += static_cast<double>(s.tokens) *
            (static_cast<double>(s.position) + static_cast<double>(s.tokens + 1) / 2);
  }
  const double total_ns = keys * static_cast<double>(shape.heads * shape.head_dim) * kAttendNs;
  const int64_t units = tokens * token_units;
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  parallel_rows(units, total_ns / static_cast<double>(std::max<int64_t>(units, 1)),
                [&](int64_t unit) {
                  int64_t n = unit / token_units;
                  const Segment& s = find_segment(args.segments, n);
                  const int64_t kv_head = unit % token_units / parts;
                  const int64_t first = unit % parts * kMaxQueries;
                  const int64_t row = s.first_token + n;
                  Attend a;
                  a.queries = static_cast<int>(std::min<int64_t>(kMaxQueries, shared - first));
                  for (int j = 0; j < a.queries; ++j) {
                    const int64_t head = kv_head * shared + first + j;
                    a.q[j] = args.q.row(row) + head * shape.head_dim;
                    a.out[j] = args.out.x.row(row) + head * shape.head_dim;
                  }
                  a.visible = s.position + n + 1;
                  a.pages = reinterpret_cast<const uint8_t*>(pages.data);
                  a.page_bytes = pages.page_bytes;
                  a.table = pages.tables + s.slot * pages.table_stride;
                  a.page_tokens = kPageTokens;
                  a.k_offset = kv_head * kPageTokens * shape.head_dim;
                  a.v_offset = (shape.kv_heads + kv_head) * kPageTokens * shape.head_dim;
                  a.head_dim = shape.head_dim;
                  a.half = pages.dtype == DType::kF16;
                  a.scale = scale;
                  kernels_.attend(a);
                });
  quantize({args.out});
}

}  // namespace hlwq::cpu
