#include "tests/kernels/attention_test_support.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/float16.h"
#include "ops/host_kv.h"
#include "ops/kv_pages.h"
#include "quant/hadamard.h"
#include "quant/kv_codec.h"

namespace hlwq::test {
namespace {

// Appends what `q` sees of keys and values [context, kv_heads * head_dim].
void attend(const AttentionShape& s, const float* q, const std::vector<double>& k,
            const std::vector<double>& v, int64_t context, std::vector<double>& out) {
  const int64_t kv_width = s.kv_heads * s.head_dim;
  for (int64_t h = 0; h < s.heads; ++h) {
    const int64_t offset = h * s.kv_heads / s.heads * s.head_dim;
    std::vector<double> scores, sum(static_cast<size_t>(s.head_dim));
    for (int64_t i = 0; i < context; ++i) {
      double dot = 0;
      for (int64_t c = 0; c < s.head_dim; ++c)
        dot += q[h * s.head_dim + c] * k[static_cast<size_t>(i * kv_width + offset + c)];
      scores.push_back(dot / std::sqrt(static_cast<double>(s.head_dim)));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (int64_t i = 0; i < context; ++i) {
      const double weight = std::exp(scores[static_cast<size_t>(i)] - largest);
      total += weight;
      for (int64_t c = 0; c < s.head_dim; ++c)
        sum[static_cast<size_t>(c)] += weight * v[static_cast<size_t>(i * kv_width + offset + c)];
    }
    for (const double value : sum) out.push_back(value / total);
  }
}

// Tables of `slots` sequences that walk through all pages, far apart, and -1 beyond.
void fill_tables(const Array<int32_t>& tables, int64_t slots, int64_t used, int64_t stride) {
  const int64_t all = slots * used;
  int64_t step = 5;
  while (std::gcd(step, all) != 1) ++step;
  for (int64_t s = 0; s < slots; ++s) {
    for (int64_t i = 0; i < stride; ++i) {
      tables[s * stride + i] =
          i < used ? static_cast<int32_t>((s * used + i + 3) * step % all) : -1;
    }
  }
}

// H x in double.
std::vector<double> rotated(const std::vector<float>& x) {
  std::vector<double> v(x.begin(), x.end());
  butterfly(v.data(), static_cast<int>(v.size()));
  for (double& e : v) e /= std::sqrt(static_cast<double>(v.size()));
  return v;
}

// A vector as it is read, exactly or from codes.
std::vector<double> as_read(const float* values, int64_t dim, int bits, bool exact) {
  std::vector<float> v(values, values + dim);
  if (bits == 16) {
    for (float& e : v) e = as_stored(e, DType::kF16);
    return {v.begin(), v.end()};
  }
  if (exact) {
    rotate_kv(v);
    for (float& e : v) e = as_stored(e, DType::kF16);
    return rotated(v);
  }
  std::vector<uint8_t> codes(v.size());
  const float scale = f16_to_f32(encode_kv(bits, v, codes));
  for (size_t i = 0; i < v.size(); ++i) v[i] = scale * kv_level_of(bits, codes[i]);
  return rotated(v);
}

// Whether the query at `position` reads token `s` exactly: its page's last token is among the 128
// newest.
bool is_exact(int64_t s, int64_t position) { return 64 * (s / 64 + 1) > position + 1 - 128; }

}  // namespace

Pool::Pool(const AttentionShape& shape_in, DType dtype_in, int64_t slots_in, int64_t context)
    : shape(shape_in),
      dtype(dtype_in),
      slots(slots_in),
      used((context + kPageTokens - 1) / kPageTokens),
      stride(used + 2),
      page_bytes(2 * shape.kv_heads * kPageTokens * shape.head_dim * bytes_of(dtype) + 256),
      memory(slots * used * page_bytes),
      tables(slots * stride) {
  fill_tables(tables, slots, used, stride);
}

CodedPool::CodedPool(const AttentionShape& shape_in, KvWidths widths_in, int64_t slots_in,
                     int64_t context, int64_t step_tokens)
    : shape(shape_in),
      widths(widths_in),
      slots(slots_in),
      used((context + kPageTokens - 1) / kPageTokens),
      stride(used + 2),
      page_bytes(shape.kv_heads * (kv_section_bytes(widths.keys, shape.head_dim) +
                                   kv_section_bytes(widths.values, shape.head_dim)) +
                 256),
      ring_pages(ring_pages_for(step_tokens, context)),
      memory(slots * used * page_bytes),
      ring(slots * ring_pages * 4 * shape.kv_heads * kPageTokens * shape.head_dim),
      tables(slots * stride) {
  fill_tables(tables, slots, used, stride);
}

KvPages CodedPool::pages() const {
  return {.data = memory.data(),
          .dtype = DType::kF16,
          .page_bytes = page_bytes,
          .tables = tables.data(),
          .table_stride = stride,
          .key_bits = widths.keys,
          .value_bits = widths.values,
          .ring = ring.data(),
          .ring_pages = ring_pages};
}

void CodedPool::fill(Random& random) const {
  std::vector<float> v(static_cast<size_t>(shape.head_dim));
  for (int64_t slot = 0; slot < slots; ++slot) {
    for (int64_t at = 0; at < used * kPageTokens; ++at) {
      for (int64_t head = 0; head < shape.kv_heads; ++head) {
        for (const KvHalf half : {KvHalf::kKeys, KvHalf::kValues}) {
          for (float& e : v) e = static_cast<float>(random.uniform(-2.0, 2.0));
          store_coded_kv(pages(), shape, {half, slot, at, head}, v.data());
        }
      }
    }
  }
}

bool CodedPool::same_codes(const CodedPool& other) const {
  return std::memcmp(memory.data(), other.memory.data(), memory.span().size()) == 0;
}

float Pool::element(bool value, int64_t slot, int64_t position, int64_t head, int64_t i) const {
  const int64_t page = tables[slot * stride + position / kPageTokens];
  const int64_t row = ((value ? shape.kv_heads : 0) + head) * kPageTokens + position % kPageTokens;
  const std::byte* at =
      memory.data() + page * page_bytes + (row * shape.head_dim + i) * bytes_of(dtype);
  if (dtype == DType::kF32) {
    float v;
    std::memcpy(&v, at, sizeof(v));
    return v;
  }
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return f16_to_f32(bits);
}

void Pool::fill(Random& random) const {
  auto* const halves = reinterpret_cast<uint16_t*>(memory.data());
  for (size_t i = 0; i < memory.span().size() / sizeof(uint16_t); ++i)
    halves[i] = f32_to_f16(static_cast<float>(random.uniform(-2.0, 2.0)));
}

bool Pool::same_bytes(const Pool& other) const {
  return std::memcmp(memory.data(), other.memory.data(), memory.span().size()) == 0;
}

AttentionInputs::AttentionInputs(Random& random, const AttentionShape& s, int64_t tokens,
                                 double spread, RowStart start)
    : q(tokens, s.heads * s.head_dim, random.normals(tokens * s.heads * s.head_dim, spread), start),
      k(tokens, s.kv_heads * s.head_dim, random.normals(tokens * s.kv_heads * s.head_dim), start),
      v(tokens, s.kv_heads * s.head_dim, random.normals(tokens * s.kv_heads * s.head_dim), start) {}

void run(Backend& backend, const Pool& pool, const AttentionInputs& in, int64_t first,
         int64_t count, std::span<const Segment> segments, const Activation& out) {
  backend.attention({.shape = pool.shape,
                     .q = in.q.part(first, count),
                     .k = in.k.part(first, count),
                     .v = in.v.part(first, count),
                     .pages = pool.pages(),
                     .segments = segments,
                     .out = out});
}

void run(Backend& backend, const CodedPool& pool, const AttentionInputs& in, int64_t first,
         int64_t count, std::span<const Segment> segments, const Activation& out) {
  backend.attention({.shape = pool.shape,
                     .q = in.q.part(first, count),
                     .k = in.k.part(first, count),
                     .v = in.v.part(first, count),
                     .pages = pool.pages(),
                     .segments = segments,
                     .out = out});
}

float as_stored(float value, DType dtype) {
  if (dtype == DType::kF32) return value;
  return f16_to_f32(f32_to_f16(std::min(std::max(value, -65504.0f), 65504.0f)));
}

std::vector<double> expected_sequence(const AttentionInputs& in, const AttentionShape& shape,
                                      DType dtype, int64_t tokens) {
  std::vector<double> k, v, out;
  for (int64_t t = 0; t < tokens; ++t) {
    for (const float value : in.k.row_values(t)) k.push_back(as_stored(value, dtype));
    for (const float value : in.v.row_values(t)) v.push_back(as_stored(value, dtype));
    attend(shape, in.q.row(t), k, v, t + 1, out);
  }
  return out;
}

std::vector<double> expected_token(const Pool& pool, int64_t slot, int64_t context,
                                   const float* q) {
  std::vector<double> k, v, out;
  for (int64_t position = 0; position < context; ++position) {
    for (int64_t head = 0; head < pool.shape.kv_heads; ++head) {
      for (int64_t i = 0; i < pool.shape.head_dim; ++i) {
        k.push_back(pool.element(false, slot, position, head, i));
        v.push_back(pool.element(true, slot, position, head, i));
      }
    }
  }
  attend(pool.shape, q, k, v, context, out);
  return out;
}

std::vector<double> expected_coded_sequence(const AttentionInputs& in, const AttentionShape& shape,
                                            KvWidths widths, int64_t tokens) {
  // [half][coded, exact]: vectors of all tokens.
  std::vector<double> read[2][2];
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      for (int exact = 0; exact < 2; ++exact) {
        const int64_t at = h * shape.head_dim;
        const auto k = as_read(in.k.row(t) + at, shape.head_dim, widths.keys, exact != 0);
        const auto v = as_read(in.v.row(t) + at, shape.head_dim, widths.values, exact != 0);
        read[0][exact].insert(read[0][exact].end(), k.begin(), k.end());
        read[1][exact].insert(read[1][exact].end(), v.begin(), v.end());
      }
    }
  }
  const auto width = static_cast<std::ptrdiff_t>(shape.kv_heads * shape.head_dim);
  std::vector<double> out, seen[2];
  for (int64_t t = 0; t < tokens; ++t) {
    for (int half = 0; half < 2; ++half) {
      seen[half].clear();
      for (int64_t s = 0; s <= t; ++s) {
        const auto from = read[half][is_exact(s, t) ? 1 : 0].begin() + s * width;
        seen[half].insert(seen[half].end(), from, from + width);
      }
    }
    attend(shape, in.q.row(t), seen[0], seen[1], t + 1, out);
  }
  return out;
}

std::vector<double> expected_coded_token(const CodedPool& pool, int64_t slot, int64_t context,
                                         const float* q) {
  const AttentionShape& shape = pool.shape;
  std::vector<double> seen[2], out;
  std::vector<float> v(static_cast<size_t>(shape.head_dim));
  for (int64_t s = 0; s < context; ++s) {
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      for (const KvHalf half : {KvHalf::kKeys, KvHalf::kValues}) {
        const KvPlace place{half, slot, s, h};
        if (is_exact(s, context - 1)) {
          const uint16_t* const from = exact_kv(pool.pages(), shape, place);
          for (size_t i = 0; i < v.size(); ++i) v[i] = f16_to_f32(from[i]);
        } else {
          load_coded_kv(pool.pages(), shape, place, v);
        }
        const int bits = half == KvHalf::kKeys ? pool.widths.keys : pool.widths.values;
        const std::vector<double> plain =
            bits < 16 ? rotated(v) : std::vector<double>(v.begin(), v.end());
        auto& all = seen[half == KvHalf::kKeys ? 0 : 1];
        all.insert(all.end(), plain.begin(), plain.end());
      }
    }
  }
  attend(shape, q, seen[0], seen[1], context, out);
  return out;
}

ScratchNeeds attention_needs(const AttentionShape& shape, int64_t tokens, int64_t context) {
  return {.tokens = tokens,
          .width = shape.heads * shape.head_dim,
          .context = context,
          .attention = shape};
}

}  // namespace hlwq::test
