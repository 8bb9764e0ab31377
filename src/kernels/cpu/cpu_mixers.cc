// Sequence mixers: Mamba-2 between its projections, rotary positions and paged attention.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/cpu_backend.h"
#include "ops/host_kv.h"
#include "ops/kv_pages.h"
#include "quant/kv_codec.h"

namespace hlwq::cpu {
namespace {

constexpr double kConvNs = 0.7;     // a channel and token
constexpr double kScanNs = 0.1;     // a state element and token
constexpr double kAttendNs = 0.06;  // a key element and head
constexpr double kRotaryNs = 0.2;   // a value
constexpr double kEncodeNs = 20;    // an element of a key or value, coded
constexpr double kRotateNs = 0.3;   // an element of a query
constexpr double kNormNs = 1.0;     // a value, normed and quantized

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

// How attention is cut: a unit is a tile of tokens of one segment and some of the heads that share
// a KV head.
struct TileCut {
  int64_t tokens, heads;  // of a tile
  int64_t shared;         // heads that share a KV head
  int64_t head_tiles;     // of them
  int64_t units;          // of a tile of tokens

  [[nodiscard]] int64_t tiles_of(const Segment& s) const {
    return (s.tokens + tokens - 1) / tokens;
  }
};

// Tiles as large as possible, as all of a tile share the widening of a page, while every thread
// gets some of them.
TileCut cut_tiles(const AttentionShape& shape, std::span<const Segment> segments, int threads) {
  constexpr int64_t kUnitsOfThread = 4;
  const int64_t shared = shape.heads / shape.kv_heads;
  const int64_t groups = (shared + kMaxQueries - 1) / kMaxQueries;
  const int64_t most = std::clamp<int64_t>(
      tokens_of(segments) * shape.kv_heads * groups / (kUnitsOfThread * threads), 1, kMaxGroups);
  TileCut cut{.tokens = std::max<int64_t>(most / groups, 1),
              .heads = std::min(most, groups) * kMaxQueries,
              .shared = shared,
              .head_tiles = 0,
              .units = 0};
  cut.head_tiles = (shared + cut.heads - 1) / cut.heads;
  cut.units = shape.kv_heads * cut.head_tiles;
  return cut;
}

// Levels of codes as the kernels look them up (CodedHalf).
std::array<float, 16> level_table(int bits) {
  std::array<float, 16> table{};
  if (bits > 4) return table;
  const size_t count = bits == 4 ? 8 : size_t{1} << bits;
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = kv_level_of(bits, static_cast<int>(i % count) + (bits == 4 ? 8 : 0));
  return table;
}
struct KvTables {
  explicit KvTables(const KvPages& pages)
      : keys(level_table(pages.key_bits)), values(level_table(pages.value_bits)) {}
  std::array<float, 16> keys, values;
};

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

  // A group of whole blocks is quantized where it was normed, so that threads share a row.
  const int64_t group_width = inner / shape.groups;
  const bool whole_blocks = args.out.q.xq != nullptr && group_width % kBlock == 0;
  parallel_rows(
      tokens * shape.groups, static_cast<double>(group_width) * kNormNs, [&](int64_t unit) {
        int64_t n = unit / shape.groups;
        const int64_t group = unit % shape.groups;
        const Segment& s = find_segment(args.segments, n);
        const int64_t row = s.first_token + n;
        float* v = args.out.x.row(row) + group * group_width;
        kernels_.norm_row(v, args.norm_weight + group * group_width, group_width, args.eps, v);
        if (!whole_blocks) return;
        const int64_t blocks = group_width / kBlock;
        quantize_blocks(args.out, row, group * blocks, blocks);
      });
  if (!whole_blocks) quantize({args.out});
}

void CpuBackend::rotary(const RotaryArgs& args) {
  const AttentionShape& shape = args.shape;
  const int64_t head_dim = shape.head_dim, pairs = head_dim / 2;
  const int64_t heads = shape.heads + shape.kv_heads;
  HLWQ_CHECK(head_dim % 2 == 0 && args.table != nullptr && args.q.rows == args.k.rows);
  HLWQ_CHECK(args.q.cols == shape.heads * head_dim && args.k.cols == shape.kv_heads * head_dim);
  parallel_rows(
      tokens_of(args.segments), static_cast<double>(heads * head_dim) * kRotaryNs, [&](int64_t n) {
        const Segment& s = find_segment(args.segments, n);
        const float* const angles = args.table + (s.position + n) * head_dim;
        const int64_t row = s.first_token + n;
        for (int64_t h = 0; h < heads; ++h) {
          float* const head = h < shape.heads ? args.q.row(row) + h * head_dim
                                              : args.k.row(row) + (h - shape.heads) * head_dim;
          kernels_.turn_pairs(angles, angles + pairs, pairs, head);
        }
      });
}

void CpuBackend::store_coded_keys_values(const AttentionArgs& args) {
  const AttentionShape& shape = args.shape;
  const auto heads = static_cast<double>(2 * shape.kv_heads);
  parallel_rows(tokens_of(args.segments), heads * static_cast<double>(shape.head_dim) * kEncodeNs,
                [&](int64_t n) {
                  const Segment& s = find_segment(args.segments, n);
                  for (int64_t head = 0; head < shape.kv_heads; ++head) {
                    for (const KvHalf half : {KvHalf::kKeys, KvHalf::kValues}) {
                      const F32View& from = half == KvHalf::kKeys ? args.k : args.v;
                      store_coded_kv(args.pages, shape, {half, s.slot, s.position + n, head},
                                     from.row(s.first_token + n) + head * shape.head_dim);
                    }
                  }
                });
}

void CpuBackend::store_keys_values(const AttentionArgs& args) {
  const AttentionShape& shape = args.shape;
  const KvPages& pages = args.pages;
  if (pages.coded()) return store_coded_keys_values(args);
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
  HLWQ_CHECK(!pages.coded() || is_kv_dim(shape.head_dim));
  static_assert(kPageTokens == kMaxPageTokens);
  store_keys_values(args);
  F32View q = args.q;
  if (pages.key_bits < kPlainKvBits) {
    HLWQ_CHECK(q.rows * q.cols <= scratch_.tokens * scratch_.query_width);
    q = {.data = scratch_.queries, .rows = q.rows, .cols = q.cols, .stride = q.cols};
    parallel_rows(q.rows, static_cast<double>(q.cols) * kRotateNs, [&](int64_t row) {
      kernels_.rotate_heads(args.q.row(row), shape.heads, shape.head_dim,
                            scratch_.queries + row * q.cols);
    });
  }
  const KvTables tables(pages);

  const TileCut cut = cut_tiles(shape, args.segments, pool_.threads());
  double keys = 0;
  int64_t units = 0;
  for (const Segment& s : args.segments) {
    units += cut.tiles_of(s) * cut.units;
    keys += static_cast<double>(s.tokens) *
            (static_cast<double>(s.position) + static_cast<double>(s.tokens + 1) / 2);
  }
  const double total_ns = keys * static_cast<double>(shape.heads * shape.head_dim) * kAttendNs;
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  parallel(units, total_ns, [&](int64_t unit) {
    int64_t tile = unit / cut.units;
    size_t i = 0;
    for (; tile >= cut.tiles_of(args.segments[i]); ++i) tile -= cut.tiles_of(args.segments[i]);
    const Segment& s = args.segments[i];
    const int64_t kv_head = unit % cut.units / cut.head_tiles;
    const int64_t first_head = unit % cut.head_tiles * cut.heads;
    const int64_t heads = std::min(cut.heads, cut.shared - first_head);
    Attend a;
    for (int64_t n = tile * cut.tokens; n < std::min((tile + 1) * cut.tokens, s.tokens); ++n) {
      for (int64_t first = 0; first < heads; first += kMaxQueries) {
        QueryGroup& group = a.groups[a.group_count++];
        group.visible = s.position + n + 1;
        group.coded = pages.coded() ? coded_pages(s.position + n) : 0;
        group.queries = static_cast<int>(std::min<int64_t>(kMaxQueries, heads - first));
        for (int j = 0; j < group.queries; ++j) {
          const int64_t head = kv_head * cut.shared + first_head + first + j;
          group.q[j] = q.row(s.first_token + n) + head * shape.head_dim;
          group.out[j] = args.out.x.row(s.first_token + n) + head * shape.head_dim;
        }
      }
    }
    a.pages = reinterpret_cast<const uint8_t*>(pages.data);
    a.page_bytes = pages.page_bytes;
    a.table = pages.tables + s.slot * pages.table_stride;
    a.page_tokens = kPageTokens;
    a.k_offset = kv_head * kPageTokens * shape.head_dim;
    a.v_offset = (shape.kv_heads + kv_head) * kPageTokens * shape.head_dim;
    a.head_dim = shape.head_dim;
    a.half = pages.dtype == DType::kF16;
    a.scale = scale;
    if (pages.coded()) {
      a.ring_pages = pages.ring_pages;
      a.ring_page_bytes = 2 * shape.kv_heads * kPageTokens * shape.head_dim * 2;
      a.ring =
          reinterpret_cast<const uint8_t*>(pages.ring) + s.slot * a.ring_pages * a.ring_page_bytes;
      const int64_t key_bytes = kv_section_bytes(pages.key_bits, shape.head_dim);
      const int64_t value_bytes = kv_section_bytes(pages.value_bits, shape.head_dim);
      a.keys = {
          .bits = pages.key_bits, .offset = kv_head * key_bytes, .levels = tables.keys.data()};
      a.values = {.bits = pages.value_bits,
                  .offset = shape.kv_heads * key_bytes + kv_head * value_bytes,
                  .levels = tables.values.data()};
    }
    kernels_.attend(a);
  });
  quantize({args.out});
}

}  // namespace hlwq::cpu
